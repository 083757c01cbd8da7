//! A transaction pooler before PostgreSQL, with a way past it and without.

use std::time::Duration;

use mingle_client::ws::{Client, Encoding, proto::Position};
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tokio::time::Instant;

use super::{
    bystanders::meet,
    health::describe,
    pairs::{Load, Talk, refusals},
    plan, urls,
};
use crate::{
    http,
    ledger::Ledger,
    world::{SOON, greet, logged, next_event, token},
};

const LOAD: Load = (10, Duration::from_millis(50));
/// Messages acknowledged before and after, and refusals in between.
const SOME: usize = 200;
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
    assert!(refusals(&talk.end(&ledger).await)["UNAVAILABLE"] > 0);
}

/// LISTEN is taken and never heard. While Redis serves nobody notices; without
/// it only the heads tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_way_past_the_pooler_the_heads_tell_what_redis_does_not() {
    let deployment = plan().pooler(false).start().await;
    let mut pairs = Vec::new();
    for pair in 0..ROOMS {
        pairs.push(pair_of(&deployment, pair).await);
    }
    meet(&deployment, 1, "before").await;
    until_degraded(&deployment, &["notifications"]).await;
    deployment.redis().kill();
    until_degraded(&deployment, &["notifications", "redis"]).await;
    let mut slowest = Duration::ZERO;
    for (room, ann, bob) in &mut pairs {
        let sent = ann.send(room, "key", "said").await.unwrap();
        let begin = Instant::now();
        loop {
            let event = next_event(bob).await.unwrap();
            if let Some((_, position)) = logged(&event)
                && position.seq >= sent.seq
            {
                assert_eq!(position, Position { seq: sent.seq, id: sent.message_id });
                break;
            }
        }
        slowest = slowest.max(begin.elapsed());
    }
    eprintln!("{ROOMS} were heard, the slowest within {slowest:?}");
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

async fn pair_of(deployment: &Deployment, pair: usize) -> (String, Client, Client) {
    let users = [format!("ann-{pair}"), format!("bob-{pair}")];
    let body = json!({"kind": "DIRECT", "memberIds": users});
    let made = http::post(deployment.gateways()[0], "/api/rooms", &token(&users[0]), &body).await;
    let room = made.ok()["roomId"].as_str().unwrap().to_owned();
    let mut clients = Vec::new();
    for (user, url) in users.iter().zip(urls(deployment)) {
        let mut client = greet(&url, user, Encoding::Json, None).await.unwrap();
        client.room_join(&room, None).await.unwrap();
        clients.push(client);
    }
    let bob = clients.pop().unwrap();
    (room, clients.pop().unwrap(), bob)
}
