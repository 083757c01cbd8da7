//! A transaction pooler before PostgreSQL, with a way past it and without.

use std::time::Duration;

use mingle_client::ws::proto::Position;
use mingle_testkit::{Deployment, eventually};
use tokio::time::Instant;

use super::{
    bystanders::meet,
    health::describe,
    pairs::{Load, Talk, follow, hear, refusals},
    plan,
};
use crate::{ledger::Ledger, world::SOON};

const LOAD: Load = (10, Duration::from_millis(50));
/// Messages acknowledged before and after, and refusals in between.
const SOME: usize = 200;
/// How often heads are compared.
const HEADS: Duration = Duration::from_secs(5);
/// Enough that some of them are followed at another instance than they are said.
const ROOMS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_dies_under_talk_costs_retries_and_no_message() {
    let deployment = plan().pooler(true).start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::around(deployment.gateways(), LOAD).await;
    talk.goes_on(SOME).await;
    meet(&deployment, 1, "before").await;
    let pooler = deployment.pooler().unwrap();
    pooler.kill();
    talk.is_refused(SOME, || {}).await;
    pooler.restart().await;
    talk.goes_on(SOME).await;
    meet(&deployment, 1, "after").await;
    let degraded = describe(deployment.grpc("chat")[0]).await.degraded;
    assert!(!degraded.iter().any(|state| state == "notifications"), "{degraded:?}");
    let refusals = refusals(&talk.end(&ledger).await);
    assert!(refusals.contains_key("UNAVAILABLE"), "{refusals:?}");
}

/// LISTEN is taken and never heard. While Redis serves nobody notices; without
/// it only the heads tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_way_past_the_pooler_the_heads_tell_what_redis_does_not() {
    let deployment = plan().pooler(false).start().await;
    let mut pairs = Vec::new();
    for pair in 0..ROOMS {
        pairs.push(follow(&deployment, pair).await);
    }
    meet(&deployment, 1, "before").await;
    until_degraded(&deployment, &["notifications"]).await;
    deployment.redis().kill();
    until_degraded(&deployment, &["notifications", "redis"]).await;
    let mut said = Vec::new();
    for (room, mut ann, bob) in pairs {
        let sent = ann.send(&room, "key", "said").await.unwrap();
        said.push((Position { seq: sent.seq, id: sent.message_id }, ann, bob));
    }
    let begin = Instant::now();
    for (position, _, bob) in &mut said {
        hear(bob, position).await;
    }
    let slowest = begin.elapsed();
    eprintln!("{ROOMS} were heard within {slowest:?}");
    assert!(slowest < HEADS * 3, "the heads are compared every {HEADS:?}");
    deployment.redis().restart().await;
    until_degraded(&deployment, &["notifications"]).await;
    meet(&deployment, 1, "after").await;
}

/// Every instance of chat tells exactly these of its backends.
async fn until_degraded(deployment: &Deployment, states: &[&str]) {
    for at in deployment.grpc("chat") {
        eventually(SOON, &format!("{at} to tell {states:?}"), async || {
            let told = describe(at).await.degraded;
            let backends = ["database", "notifications", "redis"];
            let told = told.iter().filter(|state| backends.contains(&&***state));
            told.eq(states.iter())
        })
        .await;
    }
}
