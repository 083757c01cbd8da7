//! Redis is away for one process only, and well for the others.

use std::time::Duration;

use mingle_testkit::{Fault, To, eventually};

use super::{
    bystanders::{Watcher, meet},
    health::describe,
    pairs::Talk,
    plan, urls,
};
use crate::{ledger::Ledger, world::SOON};

const PAIRS: usize = 20;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_millis(500);
/// Messages acknowledged in each state.
const BETWEEN: usize = 200;
/// Pairs of strangers who meet in each.
const MEET: usize = 4;
/// One of two each: the other is well.
const ROLES: [&str; 3] = ["chat", "matchmaking", "presence"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_cut_off_alone_does_what_the_others_do() {
    let deployment = plan().count("presence", 2).ways().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (PAIRS, PAUSE)).await;
    talk.goes_on(BETWEEN).await;
    let watcher = Watcher::start(&urls(&deployment)[0], &talk.users()).await;
    let mut rounds = 0;
    for role in ROLES {
        for fault in [Fault::Cut, Fault::Silent] {
            let way = deployment.way(role, 0, To::Redis);
            way.set(fault);
            let is_degraded = async |nth: usize| {
                let told = describe(deployment.grpc(role)[nth]).await.degraded;
                told.iter().any(|state| state == "redis")
            };
            eventually(SOON, "it is known there", async || is_degraded(0).await).await;
            talk.goes_on(BETWEEN).await;
            meet(&deployment, MEET, &format!("{role}-{fault:?}")).await;
            rounds += 1;
            assert!(!is_degraded(1).await, "the other {role} is well");
            way.set(Fault::None);
            eventually(SOON, "it is well again", async || !is_degraded(0).await).await;
            talk.goes_on(BETWEEN).await;
        }
        assert!(deployment.way(role, 0, To::Redis).traffic().cut > 0, "{role}");
    }
    assert_eq!(talk.resumed(), 0, "no socket was lost");
    talk.end(&ledger).await;
    watcher.assert_saw_nobody_leave();
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    let strangers = i64::try_from(2 * MEET * rounds).unwrap();
    assert_eq!(ledger.count(matched).await, strangers, "each once");
    let matches = "select count(*) from mm_matches where room_id is not null";
    assert_eq!(ledger.count(matches).await * 2, strangers);
}
