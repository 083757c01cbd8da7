//! A Redis that comes back with what it knew some time ago: nothing of it is
//! believed.

use std::time::{Duration, Instant};

use mingle_client::ws::{
    Client, Encoding,
    proto::{PresenceStatus, TicketState, server_frame::Kind},
};
use mingle_testkit::eventually;
use serde_json::json;

use super::{
    pairs::{Load, Talk},
    plan, urls,
};
use crate::{
    checker, http,
    ledger::Ledger,
    world::{SOON, greet, next_event, token},
};

const LOAD: Load = (10, Duration::from_millis(50));
/// Messages acknowledged before and after.
const SOME: usize = 200;
/// Shorter than by default: what is left of 13 s is lease and this.
const GRACE_MS: &str = "3000";
/// Longer than what restored sessions and leases could last: 6 s.
const LATER: Duration = Duration::from_secs(10);

async fn status(watcher: &mut Client, user: &str) -> PresenceStatus {
    watcher.presence_watch(&[user]).await.unwrap().presences[0].status()
}

async fn seeks(url: &str, user: &str, gender: &str, wants: &str) -> (Client, TicketState) {
    let mut client = greet(url, user, Encoding::Json, None).await.unwrap();
    let of = [("gender", gender)];
    let ticket = client.match_join("random-chat", &of, &[("gender", &[wants])]).await.unwrap();
    let state = ticket.state();
    (client, state)
}

/// Who a client is matched with, itself left out.
async fn partner(client: &mut Client) -> String {
    loop {
        if let Kind::Matched(matched) = next_event(client).await.unwrap() {
            let own = &client.welcome().unwrap().user_id;
            return matched.users.iter().find(|user| *user != own).unwrap().clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_restored_redis_remembers_is_not_believed() {
    let deployment = plan().env("MINGLE_PRESENCE__GRACE_MS", GRACE_MS).start().await;
    let (urls, redis) = (urls(&deployment), deployment.redis());
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let body = json!({"kind": "CHANNEL", "name": "all"});
    let made = http::post(deployment.gateways()[0], "/api/rooms", &token("stays"), &body).await;
    let room = made.ok()["roomId"].as_str().unwrap().to_owned();
    let mut people = Vec::new();
    for (user, url) in ["stays", "goes", "watcher"].iter().zip(urls.iter().cycle()) {
        let mut client = greet(url, user, Encoding::Json, None).await.unwrap();
        client.room_join(&room, None).await.unwrap();
        people.push(client);
    }
    let mut watcher = people.pop().unwrap();
    let (goes, _stays) = (people.pop().unwrap(), people.pop().unwrap());
    for user in ["stays", "goes"] {
        eventually(SOON, "both are online", async || {
            status(&mut watcher, user).await == PresenceStatus::Online
        })
        .await;
    }
    let talk = Talk::around(deployment.gateways(), LOAD).await;
    talk.goes_on(SOME).await;
    let (mut early, state) = seeks(&urls[0], "early", "female", "male").await;
    assert_eq!(state, TicketState::Waiting);

    // The entry of who waits, and the session of who is there.
    let snapshot = eventually(SOON, "a snapshot with both", async || {
        let snapshot = redis.snapshot();
        (snapshot.holds(r#"["early""#) && snapshot.holds("goes")).then_some(snapshot)
    })
    .await;
    let then = redis.cli(&["HGET", "mingle:{fence}", "generation"]);
    goes.close().await.unwrap();
    let (mut first, _) = seeks(&urls[1], "first", "male", "female").await;
    assert_eq!(
        (partner(&mut early).await, partner(&mut first).await),
        ("first".into(), "early".into())
    );
    eventually(SOON, "who went is offline", async || {
        status(&mut watcher, "goes").await == PresenceStatus::Offline
    })
    .await;

    redis.restart_from(&snapshot).await;
    let now = eventually(SOON, "a generation of its own", async || {
        let now = redis.cli(&["HGET", "mingle:{fence}", "generation"]);
        (now != then && !now.is_empty()).then_some(now)
    });
    eprintln!("generation {then}, restored {}", now.await);
    // The restored index holds a ticket that is matched by now.
    let (mut second, state) = seeks(&urls[0], "second", "male", "female").await;
    assert_eq!(state, TicketState::Waiting);
    let begin = Instant::now();
    eventually(SOON, "what was restored would be over", async || {
        assert_ne!(status(&mut watcher, "goes").await, PresenceStatus::Online);
        assert_ne!(status(&mut watcher, "stays").await, PresenceStatus::Offline);
        begin.elapsed() > LATER
    })
    .await;
    for (user, expected) in [("goes", PresenceStatus::Offline), ("stays", PresenceStatus::Online)] {
        eventually(SOON, "the truth is told", async || {
            status(&mut watcher, user).await == expected
        })
        .await;
    }
    let (mut late, _) = seeks(&urls[1], "late", "female", "male").await;
    assert_eq!(
        (partner(&mut second).await, partner(&mut late).await),
        ("late".into(), "second".into())
    );
    let rows = ledger.rows().await;
    assert_eq!(rows.matches.len(), 2, "{:?}", rows.matches);
    let doubled = checker::check_matches(&rows);
    assert!(doubled.is_empty(), "{doubled:?}");
    talk.goes_on(SOME).await;
    talk.end(&ledger).await;
}
