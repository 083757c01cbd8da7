//! Of a Redis Cluster primaries are killed, with what their replica has and without,
//! and frozen, slots move, a server joins, and all are started again one by one, in
//! mid conversation of pairs over two gateways.

use mingle_testkit::{Cluster, Redis, eventually};

use super::people::{HEAVY, LIGHT, LISTENERS, People, plan};
use crate::world::SOON;

/// Slots that move at once.
const SLOTS: u16 = 1_000;

/// What becomes of it.
#[derive(Clone, Copy, Debug)]
enum Change {
    Kill,
    Freeze,
    /// It takes writes that its replica has not, and dies.
    Behind,
    Move,
    Grow,
    RestartAll,
}

const CHANGES: [Change; 6] =
    [Change::Kill, Change::Freeze, Change::Behind, Change::Move, Change::Grow, Change::RestartAll];

impl Change {
    /// Begins, in the shard that has this key.
    async fn begin(self, all: &Cluster, key: &str, people: &People<'_>) {
        let primary = all.owner(key).expect("somebody has it");
        match self {
            Self::Kill => primary.kill(),
            Self::Freeze => primary.freeze(),
            Self::Behind => {
                all.cut_off(primary);
                people.talk().await;
                primary.kill();
            }
            Self::Move => {
                let others = all.primaries();
                let other = others.iter().find(|other| other.port() != primary.port()).unwrap();
                tokio::task::block_in_place(|| all.move_slots(primary, other, SLOTS));
            }
            Self::Grow => {
                all.add().await;
                tokio::task::block_in_place(|| all.rebalance());
            }
            Self::RestartAll => {
                for server in all.servers() {
                    server.restart().await;
                    all.complete().await;
                }
            }
        }
        if self.elects() {
            let elected = || all.owner(key).is_some_and(|now| now.port() != primary.port());
            eventually(SOON, "its replica is elected", async || elected()).await;
        }
    }

    fn elects(self) -> bool {
        matches!(self, Self::Kill | Self::Freeze | Self::Behind)
    }

    async fn end(self, server: &Redis) {
        match self {
            Self::Kill | Self::Behind => server.restart().await,
            Self::Freeze => server.thaw(),
            Self::Move | Self::Grow | Self::RestartAll => {}
        }
    }
}

/// Waits until everybody uses all of it again.
async fn is_healed(people: &People<'_>, all: &Cluster) {
    eventually(SOON, "the bus listens to each primary", async || {
        all.primaries().into_iter().all(|primary| {
            primary.try_cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).is_some_and(|clients| {
                clients.lines().filter(|line| line.contains("user=mingle")).count() == LISTENERS
            })
        })
    })
    .await;
    people.are_served().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_and_meet_whatever_becomes_of_the_cluster() {
    let deployment = plan().cluster().start().await;
    let all = deployment.cluster().unwrap();
    let load = if std::env::var_os("MINGLE_SOAK").is_some() { HEAVY } else { LIGHT };
    let mut people = People::start(&deployment, load).await;
    for (n, change) in CHANGES.into_iter().enumerate() {
        // The fence's shard, and others.
        let key = format!("mingle:{{{}}}", if n == 0 { "fence".to_owned() } else { n.to_string() });
        let old = all.owner(&key).expect("somebody has it");
        let begin = people.done();
        change.begin(all, &key, &people).await;
        people.talk().await;
        people.meet(&format!("{n}-change")).await;
        is_healed(&people, all).await;
        eprintln!("{change:?}: healed {:?} later, what was waited for included", begin.elapsed());
        people.talk().await;
        people.meet(&format!("{n}-healed")).await;
        change.end(old).await;
        all.complete().await;
        people.meet(&format!("{n}-whole")).await;
        people.note(&begin);
    }
    people.end().await;
}
