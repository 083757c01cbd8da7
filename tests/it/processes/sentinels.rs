//! The primary that sentinels name is killed, frozen, and cut off from all but
//! Mingle, in mid conversation of pairs over two gateways. In soak it is cut off a
//! hundred times more: what it takes then, for at least two seconds, nobody follows.

use mingle_testkit::{Redis, Sentinels, eventually};

use super::people::{HEAVY, LIGHT, LISTENERS, Load, People, plan};
use crate::world::SOON;

/// Whoever is elected is the next.
const FAULTS: [Fault; 3] = [Fault::Kill, Fault::Freeze, Fault::CutOff];
const CUT_OFF: usize = 100;

/// What becomes of a primary.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Freeze,
    /// It takes writes on, and nobody follows it.
    CutOff,
}

impl Fault {
    fn begin(self, all: &Sentinels, primary: &Redis) {
        match self {
            Self::Kill => primary.kill(),
            Self::Freeze => primary.freeze(),
            Self::CutOff => all.cut_off(primary),
        }
    }

    async fn end(self, all: &Sentinels, server: &Redis) {
        match self {
            Self::Kill => server.restart().await,
            Self::Freeze => server.thaw(),
            Self::CutOff => all.join_again(server),
        }
    }
}

/// What happens to how many people, one after the other.
fn runs() -> Vec<(Load, Vec<Fault>)> {
    if std::env::var_os("MINGLE_SOAK").is_none() {
        return vec![(LIGHT, FAULTS.into())];
    }
    vec![(HEAVY, FAULTS.into()), (LIGHT, vec![Fault::CutOff; CUT_OFF])]
}

/// Waits until a server other than `old` is elected, and everybody uses it.
async fn is_healed<'a>(people: &People<'_>, all: &'a Sentinels, old: u16) -> &'a Redis {
    let elected = || all.primary().filter(|primary| primary.port() != old);
    let new = eventually(SOON, "another is elected", async || elected()).await;
    eventually(SOON, "the bus listens there", async || {
        let beats = new.cli(&["PUBSUB", "NUMSUB", "mingle:{bus}:beat"]);
        beats.lines().nth(1).is_some_and(|count| count.parse() == Ok(LISTENERS))
    })
    .await;
    people.are_served().await;
    new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_and_meet_whichever_server_is_elected() {
    for (load, faults) in runs() {
        run(load, &faults).await;
    }
}

async fn run(load: Load, faults: &[Fault]) {
    let deployment = plan().sentinels().start().await;
    let all = deployment.sentinels().unwrap();
    let mut people = People::start(&deployment, load).await;
    for (n, fault) in faults.iter().enumerate() {
        let old = all.primary().expect("the sentinels agree");
        let begin = people.done();
        fault.begin(all, old);
        people.talk().await;
        people.meet(&format!("{n}-fault")).await;
        let new = is_healed(&people, all, old.port()).await;
        eprintln!("{fault:?}: healed {:?} later, what was waited for included", begin.elapsed());
        people.talk().await;
        people.meet(&format!("{n}-elected")).await;
        fault.end(all, old).await;
        all.complete().await;
        assert_ne!(new.port(), old.port());
        people.meet(&format!("{n}-whole")).await;
        people.note(&begin);
    }
    people.end().await;
}
