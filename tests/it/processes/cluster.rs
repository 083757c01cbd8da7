//! Of a Redis Cluster primaries are killed, with what their replica has and without,
//! and frozen, slots move, a server joins, and all are started again one by one, in
//! mid conversation of pairs over two gateways.

use std::time::Duration;

use mingle_testkit::{Cluster, Deployment, Redis, eventually};
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
/// The processes that listen to the bus: presence, and two each of the two.
const LISTENERS: usize = 5;
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

/// In the default tier and in soak.
const CHANGES: [Change; 6] =
    [Change::Kill, Change::Freeze, Change::Behind, Change::Move, Change::Grow, Change::RestartAll];

impl Change {
    /// Begins, in the shard that has this key.
    async fn begin(self, all: &Cluster, key: &str, talk: &Talk) {
        let primary = all.owner(key).expect("somebody has it");
        match self {
            Self::Kill => primary.kill(),
            Self::Freeze => primary.freeze(),
            Self::Behind => {
                all.cut_off(primary);
                talk.goes_on(BETWEEN).await;
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
async fn is_healed(deployment: &Deployment, all: &Cluster) {
    eventually(SOON, "the bus listens to each primary", async || {
        all.primaries().into_iter().all(|primary| {
            primary.try_cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).is_some_and(|clients| {
                clients.lines().filter(|line| line.contains("user=mingle")).count() == LISTENERS
            })
        })
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_and_meet_whatever_becomes_of_the_cluster() {
    let window = format!("{}s", WINDOW.as_secs());
    let deployment = limited()
        .count("chat", 2)
        .env("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__WINDOW", window)
        .env(SELDOM.0, SELDOM.1)
        .cluster()
        .start()
        .await;
    let all = deployment.cluster().unwrap();
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (PAIRS, PAUSE)).await;
    talk.goes_on(BETWEEN).await;
    let watcher = Watcher::start(&urls(&deployment)[0], &talk.users()).await;
    let hasty = Hasty::start(&deployment).await;
    let mut spans = Vec::new();
    for (n, change) in CHANGES.into_iter().enumerate() {
        // The fence's shard, and others.
        let key = format!("mingle:{{{}}}", if n == 0 { "fence".to_owned() } else { n.to_string() });
        let old = all.owner(&key).expect("somebody has it");
        let begin = Instant::now();
        change.begin(all, &key, &talk).await;
        talk.goes_on(BETWEEN).await;
        meet(&deployment, MEET, &format!("{n}-change")).await;
        is_healed(&deployment, all).await;
        eprintln!("{change:?}: healed {:?} later, what was waited for included", begin.elapsed());
        talk.goes_on(BETWEEN).await;
        meet(&deployment, MEET, &format!("{n}-healed")).await;
        change.end(old).await;
        all.complete().await;
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
    let strangers = i64::try_from(2 * MEET * 3 * CHANGES.len()).unwrap();
    assert_eq!(ledger.count(matched).await, strangers, "each once");
    let matches = "select count(*) from mm_matches where room_id is not null";
    assert_eq!(ledger.count(matches).await * 2, strangers);
}
