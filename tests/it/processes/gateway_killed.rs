//! `kill -9` of a gateway in mid conversation.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use mingle_client::ws::{
    Client, Encoding,
    proto::{PresenceStatus, server_frame::Kind},
};
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tokio::time::timeout;

use super::{plan, urls};
use crate::{
    checker::{self, Crowd, Person},
    http,
    ledger::Ledger,
    world::{SOON, greet, token},
};

const PAIRS: usize = 20;
/// Users of the killed gateway who never come back.
const GONE: usize = 5;
const PAUSE: Duration = Duration::from_millis(300);
/// Lease 3 s, grace 10 s, and what a busy machine adds.
const OFFLINE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_killed_gateway_go_on_at_the_other() {
    let mut deployment = plan().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let mut crowd = Crowd::new();
    let tally = crowd.tally.clone();
    let urls = urls(&deployment);
    let mut watched = Vec::new();
    for pair in 0..PAIRS {
        let users = [format!("ann-{pair}"), format!("bob-{pair}")];
        let room = room(&deployment, &["watcher", &users[0], &users[1]]).await;
        for user in &users {
            let person = Person::new(user, deployment.gateways(), rand::random(), tally.clone());
            let room = room.clone();
            crowd.add(|phase| checker::speak(person, room, PAUSE, phase));
        }
        watched.extend(users);
    }
    let mut leavers = Vec::new();
    for at in 0..GONE {
        let user = format!("gone-{at}");
        room(&deployment, &["watcher", &user]).await;
        leavers.push(greet(&urls[0], &user, Encoding::Proto, None).await.unwrap());
        watched.push(user);
    }
    let mut watcher = watch_all(&urls[1], &watched).await;
    eventually(SOON, "the pairs talk", async || tally.acknowledged.load(Relaxed) > 200).await;

    let before = ledger.count(TRANSACTIONS).await;
    let killed = Instant::now();
    deployment.kill9("gateway", 0);
    let gone = offline(&mut watcher, &watched).await;
    let took = killed.elapsed();
    let transactions = ledger.count(TRANSACTIONS).await - before;
    let said = tally.acknowledged.load(Relaxed);
    let verdict = checker::check(&crowd.end(&ledger).await, &ledger.rows().await);
    assert!(verdict.0.is_empty(), "{verdict}");

    let mut expected: Vec<_> = (0..GONE).map(|at| format!("gone-{at}")).collect();
    expected.sort();
    assert_eq!(gone, expected, "and nobody else was ever shown offline");
    let resumed = tally.resumed.load(Relaxed);
    eprintln!(
        "{resumed} resumed; offline after {took:?}; {transactions} transactions meanwhile, \
         {said} messages in all"
    );
    assert!(resumed > PAIRS / 2, "{resumed} resumed");
    // Each message and each resume costs a bounded number of statements.
    let bound = 20 * (said as i64 + resumed as i64) + 100 * (took.as_secs() as i64 + 1);
    assert!(transactions < bound, "{transactions} transactions, {bound} allowed");
}

const TRANSACTIONS: &str =
    "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";

async fn room(deployment: &Deployment, users: &[&str]) -> String {
    let body = json!({"kind": "CHANNEL", "name": "all"});
    let gateway = deployment.gateways()[1];
    let room = http::post(gateway, "/api/rooms", &token(users[0]), &body).await.ok();
    let room = room["roomId"].as_str().unwrap().to_owned();
    for user in &users[1..] {
        let url = format!("ws://{gateway}/ws");
        let mut client = greet(&url, user, Encoding::Json, None).await.unwrap();
        client.room_join(&room, None).await.unwrap();
        client.close().await.unwrap();
    }
    room
}

async fn watch_all(url: &str, users: &[String]) -> Client {
    let mut watcher = greet(url, "watcher", Encoding::Json, None).await.unwrap();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    eventually(SOON, "everybody is online", async || {
        let presences = watcher.presence_watch(&users).await.unwrap().presences;
        presences.iter().all(|it| it.status() == PresenceStatus::Online)
    })
    .await;
    // What came while they arrived is not of this test.
    while watcher.waiting() > 0 {
        watcher.event().await.unwrap();
    }
    watcher
}

/// Who is shown offline until all the gone ones are.
async fn offline(watcher: &mut Client, watched: &[String]) -> Vec<String> {
    let mut gone = Vec::new();
    let until = tokio::time::Instant::now() + OFFLINE;
    while gone.iter().filter(|user: &&String| user.starts_with("gone-")).count() < GONE {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        let Ok(event) = timeout(left, watcher.event()).await else {
            panic!("within {OFFLINE:?} only {gone:?} were shown offline");
        };
        if let Kind::Presence(presence) = event.unwrap()
            && presence.status() == PresenceStatus::Offline
        {
            assert!(watched.contains(&presence.user_id));
            gone.push(presence.user_id);
        }
    }
    gone.sort();
    gone
}
