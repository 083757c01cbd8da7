//! Redis frozen for 20 s, woken, then killed and restarted empty, in mid
//! conversation of a hundred pairs over two gateways.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use mingle_testkit::{Deployment, eventually};
use tokio::time::Instant;

use super::{
    bystanders::{Watcher, meet},
    health::describe,
    pairs, plan, urls,
};
use crate::{
    checker, http,
    ledger::Ledger,
    world::{SOON, token},
};

const PAIRS: usize = 100;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_secs(1);
const FROZEN: Duration = Duration::from_secs(20);
/// Messages acknowledged in each state of Redis.
const BETWEEN: usize = 400;
/// Pairs of strangers who meet in each.
const MEET: usize = 5;

/// A reply of a gateway and one of a service that bear the mark.
async fn are_marked(deployment: &Deployment) {
    let gateway = deployment.gateways()[1];
    let answer = http::get(gateway, "/api/presence?user=ann-0", &token("bob-0")).await;
    assert!(answer.header("mingle-degraded").contains("presence"), "{answer:?}");
    assert_eq!(answer.ok()["presences"][0]["status"], "UNKNOWN");
    let told = describe(deployment.grpc("chat")[0]).await.degraded;
    assert!(told.iter().any(|state| state == "redis"), "{told:?}");
    let health = http::get(gateway, "/api/health", "").await.ok();
    assert_eq!(health["status"], "degraded");
}

fn late(deployment: &Deployment) -> u64 {
    let stats = deployment.redis().cli(&["INFO", "errorstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("errorstat_LATE:count="));
    line.map_or(0, |line| line.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pairs_talk_through_a_redis_that_freezes_and_comes_back_empty() {
    let deployment = plan().start().await;
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
    let mut watcher = Watcher::start(&urls(&deployment)[0], &users).await;

    deployment.redis().freeze();
    let frozen = Instant::now();
    meet(&deployment, MEET, "frozen").await;
    watcher.is_told(Some("presence")).await;
    are_marked(&deployment).await;
    talk_on("they talk on without redis").await;
    eventually(SOON, "it was frozen for long", async || frozen.elapsed() > FROZEN).await;
    meet(&deployment, MEET, "long frozen").await;
    deployment.redis().thaw();
    talk_on("they talk on").await;
    watcher.is_told(None).await;
    let late = late(&deployment);
    meet(&deployment, MEET, "woken").await;

    deployment.redis().kill();
    talk_on("they talk on while it is dead").await;
    meet(&deployment, MEET, "dead").await;
    watcher.is_told(Some("presence")).await;
    deployment.redis().restart_empty().await;
    watcher.is_told(None).await;
    talk_on("they talk on with an empty one").await;
    meet(&deployment, MEET, "empty").await;

    let journals = crowd.end(&ledger).await;
    let verdict = checker::check(&journals, &ledger.rows().await);
    assert!(verdict.0.is_empty(), "{verdict}");
    watcher.assert_saw_nobody_leave();
    let said = tally.acknowledged.load(Relaxed);
    eprintln!("{said} acknowledged; {late} scripts came late and did nothing");
    assert!(late > 0, "a woken redis had something to do");
    assert_eq!(tally.resumed.load(Relaxed), 0, "no socket was lost");
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    let strangers = i64::try_from(2 * MEET * 5).unwrap();
    assert_eq!(ledger.count(matched).await, strangers, "each once");
    let matches = "select count(*) from mm_matches where room_id is not null";
    assert_eq!(ledger.count(matches).await * 2, strangers);
}
