//! The primary that sentinels name is killed, frozen, and cut off from all but
//! Mingle, in mid conversation of pairs over two gateways. In soak it is cut off a
//! hundred times more: what it takes then, for at least two seconds, nobody follows.

use std::time::Duration;

use mingle_testkit::{Deployment, Redis, Sentinels, eventually};
use tokio::time::Instant;

use super::{
    bystanders::{Watcher, meet},
    hasty::Hasty,
    health::describe,
    limits::{QUOTA, WINDOW, limited},
    pairs::{SELDOM, Talk, assert_delivered},
    urls,
};
use crate::{ledger::Ledger, world::SOON};

const PAIRS: usize = 30;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_millis(500);
/// Messages acknowledged in each state.
const BETWEEN: usize = 200;
/// Pairs of strangers who meet in each.
const MEET: usize = 3;
/// Whoever is elected is the next.
const FAULTS: [Fault; 3] = [Fault::Kill, Fault::Freeze, Fault::CutOff];
const CUT_OFF: usize = 100;
/// The processes that listen to the bus: presence, and two each of the two.
const LISTENERS: usize = 5;

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

fn faults() -> Vec<Fault> {
    let more = if std::env::var_os("MINGLE_SOAK").is_some() { CUT_OFF } else { 0 };
    FAULTS.into_iter().chain(vec![Fault::CutOff; more]).collect()
}

/// Waits until a server other than `old` is elected, and everybody uses it.
async fn is_healed<'a>(deployment: &Deployment, all: &'a Sentinels, old: u16) -> &'a Redis {
    let elected = || all.primary().filter(|primary| primary.port() != old);
    let new = eventually(SOON, "another is elected", async || elected()).await;
    eventually(SOON, "the bus listens there", async || {
        let beats = new.cli(&["PUBSUB", "NUMSUB", "mingle:{bus}:beat"]);
        beats.lines().nth(1).is_some_and(|count| count.parse() == Ok(LISTENERS))
    })
    .await;
    for role in ["chat", "matchmaking", "presence", "ratelimit"] {
        for at in deployment.grpc(role) {
            eventually(SOON, "a service is well", async || {
                !describe(at).await.degraded.iter().any(|state| state == "redis")
            })
            .await;
        }
    }
    new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_and_meet_whichever_server_is_elected() {
    let window = format!("{}s", WINDOW.as_secs());
    let deployment = limited()
        .count("chat", 2)
        .env("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__WINDOW", window)
        .env(SELDOM.0, SELDOM.1)
        .sentinels()
        .start()
        .await;
    let all = deployment.sentinels().unwrap();
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (PAIRS, PAUSE)).await;
    talk.goes_on(BETWEEN).await;
    let watcher = Watcher::start(&urls(&deployment)[0], &talk.users()).await;
    let hasty = Hasty::start(&deployment).await;
    let (mut spans, faults) = (Vec::new(), faults());
    for (n, fault) in faults.iter().enumerate() {
        let old = all.primary().expect("the sentinels agree");
        let begin = Instant::now();
        fault.begin(all, old);
        talk.goes_on(BETWEEN).await;
        meet(&deployment, MEET, &format!("{n}-fault")).await;
        let new = is_healed(&deployment, all, old.port()).await;
        eprintln!("{fault:?}: healed {:?} later, what was waited for included", begin.elapsed());
        talk.goes_on(BETWEEN).await;
        meet(&deployment, MEET, &format!("{n}-elected")).await;
        fault.end(all, old).await;
        all.complete().await;
        assert_ne!(new.port(), old.port());
        meet(&deployment, MEET, &format!("{n}-whole")).await;
        spans.push((begin, Instant::now()));
    }
    // What an election loses of a window is admitted once more, and no more than that.
    let most = hasty.most_within(WINDOW).await;
    eprintln!("{most} of {QUOTA} were admitted within {WINDOW:?}, at the most");
    assert!((QUOTA..=2 * QUOTA).contains(&most), "{most} admitted of {QUOTA}");
    assert_eq!(talk.resumed(), 0, "no socket was lost");
    let journals = talk.end_among_others(&ledger).await;
    for span in spans {
        assert_delivered(&journals, span);
    }
    watcher.assert_saw_nobody_leave();
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    let strangers = i64::try_from(2 * MEET * 3 * faults.len()).unwrap();
    assert_eq!(ledger.count(matched).await, strangers, "each once");
    let matches = "select count(*) from mm_matches where room_id is not null";
    assert_eq!(ledger.count(matches).await * 2, strangers);
}
