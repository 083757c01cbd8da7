//! Redis is away for one process only, and well for the others.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use mingle_testkit::{Fault, To, eventually};

use super::{
    bystanders::{Watcher, meet},
    health::describe,
    pairs, plan, urls,
};
use crate::{checker, ledger::Ledger, world::SOON};

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
    let gateways = deployment.gateways();
    let gateways = [vec![gateways[0]], vec![gateways[1]]];
    let crowd = pairs::talk(&deployment, (PAIRS, PAUSE), gateways, rand::random()).await;
    let tally = crowd.tally.clone();
    let talk_on = async |why: &str| {
        let said = tally.acknowledged.load(Relaxed);
        eventually(SOON * 2, why, async || tally.acknowledged.load(Relaxed) >= said + BETWEEN)
            .await;
    };
    talk_on("the pairs talk").await;
    let users: Vec<String> =
        (0..PAIRS).flat_map(|n| [format!("ann-{n}"), format!("bob-{n}")]).collect();
    let watcher = Watcher::start(&urls(&deployment)[0], &users).await;
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
            talk_on("they talk on").await;
            meet(&deployment, MEET, &format!("{role}-{fault:?}")).await;
            rounds += 1;
            assert!(!is_degraded(1).await, "the other {role} is well");
            way.set(Fault::None);
            eventually(SOON, "it is well again", async || !is_degraded(0).await).await;
            talk_on("they talk on").await;
        }
        assert!(deployment.way(role, 0, To::Redis).traffic().cut > 0, "{role}");
    }
    let journals = crowd.end(&ledger).await;
    let verdict = checker::check(&journals, &ledger.rows().await);
    assert!(verdict.0.is_empty(), "{verdict}");
    watcher.assert_saw_nobody_leave();
    assert_eq!(tally.resumed.load(Relaxed), 0, "no socket was lost");
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    let strangers = i64::try_from(2 * MEET * rounds).unwrap();
    assert_eq!(ledger.count(matched).await, strangers, "each once");
    let matches = "select count(*) from mm_matches where room_id is not null";
    assert_eq!(ledger.count(matches).await * 2, strangers);
}
