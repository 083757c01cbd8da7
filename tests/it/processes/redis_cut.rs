//! Redis is away for one process only, and well for the others.

use std::time::Duration;

use mingle_testkit::{Fault, To, eventually};
use tokio::time::Instant;

use super::{
    bystanders::{Watcher, meet},
    flicker::Flicker,
    health::describe,
    pairs::{SELDOM, Talk, assert_delivered},
    plan, urls,
};
use crate::{ledger::Ledger, world::SOON};

const PAIRS: usize = 20;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_millis(500);
/// Messages acknowledged in each state.
const BETWEEN: usize = 100;
/// Pairs of strangers who meet in each.
const MEET: usize = 3;
/// One of two each: the other is well.
const ROLES: [&str; 4] = ["chat", "matchmaking", "presence", "ratelimit"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_cut_off_alone_does_what_the_others_do() {
    let deployment = plan()
        .env(SELDOM.0, SELDOM.1)
        .count("presence", 2)
        .count("ratelimit", 2)
        .ways()
        .start()
        .await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (PAIRS, PAUSE)).await;
    talk.goes_on(BETWEEN).await;
    let watcher = Watcher::start(&urls(&deployment)[0], &talk.users()).await;
    let flicker = Flicker::start(deployment.gateways(), &talk.users());
    let (mut rounds, mut faulty) = (0, Vec::new());
    for role in ROLES {
        for fault in [Fault::Cut, Fault::Silent] {
            let way = deployment.way(role, 0, To::Redis);
            let begin = Instant::now();
            way.set(fault);
            let is_degraded = async |nth: usize| {
                let told = describe(deployment.grpc(role)[nth]).await.degraded;
                told.iter().any(|state| state == "redis")
            };
            eventually(SOON, "it is known there", async || is_degraded(0).await).await;
            talk.goes_on(BETWEEN).await;
            meet(&deployment, MEET, &format!("{role}-{fault:?}")).await;
            rounds += 1;
            eventually(SOON, "the other is well", async || !is_degraded(1).await).await;
            faulty.push((begin, Instant::now()));
            way.set(Fault::None);
            eventually(SOON, "it is well again", async || !is_degraded(0).await).await;
            talk.goes_on(BETWEEN).await;
        }
        assert!(deployment.way(role, 0, To::Redis).traffic().cut > 0, "{role}");
    }
    assert_eq!(talk.resumed(), 0, "no socket was lost");
    flicker.end().await;
    let journals = talk.end(&ledger).await;
    for span in faulty {
        assert_delivered(&journals, span);
    }
    watcher.assert_saw_nobody_leave();
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    let strangers = i64::try_from(2 * MEET * rounds).unwrap();
    assert_eq!(ledger.count(matched).await, strangers, "each once");
    let matches = "select count(*) from mm_matches where room_id is not null";
    assert_eq!(ledger.count(matches).await * 2, strangers);
}
