//! Presence is gone: whoever comes is let in, whoever stays is offline to
//! nobody, and whoever waits waits on.

use mingle_client::ws::{
    Client, Encoding,
    proto::{Presence, PresenceStatus, server_frame::Kind},
};
use mingle_testkit::eventually;
use tokio::time::{Instant, timeout_at};

use super::{Duration, Ledger, Talk, away, join, make_room, matched, pass};
use crate::{
    http,
    processes::{plan, urls},
    world::{SOON, greet, token},
};

const PAUSE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_presence_whoever_comes_is_let_in_and_registered_later() {
    // Lease and grace are over before presence is back: 6 s.
    let mut deployment = plan().env("MINGLE_PRESENCE__GRACE_MS", "3000").start().await;
    let (urls, gateways) = (urls(&deployment), deployment.gateways());
    let room = make_room(gateways[0], "watcher").await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (2, PAUSE)).await;
    let mut here = Vec::new();
    for (at, user) in ["stays-0", "stays-1", "leaver"].into_iter().enumerate() {
        here.push(enter(&urls[at % 2], user, &room).await);
    }
    for user in ["comes-0", "comes-1"] {
        // A member of the room, who may be watched, and is gone again.
        enter(&urls[0], user, &room).await.close().await.unwrap();
    }
    let waits = join(&urls[0], "waits", "female", "male").await;
    let everybody = ["stays-0", "stays-1", "leaver", "comes-0", "comes-1"];
    let mut watcher = enter(&urls[1], "watcher", &room).await;
    eventually(SOON, "three are online, and two are not", async || {
        let presences = watcher.presence_watch(&everybody).await.unwrap().presences;
        let is_here = |it: &Presence| it.status() == PresenceStatus::Online;
        presences.iter().all(|it| is_here(it) != it.user_id.starts_with("comes-"))
    })
    .await;
    while watcher.waiting() > 0 {
        watcher.event().await.unwrap();
    }

    deployment.kill9("presence", 0);
    until_degraded(&mut watcher).await;
    here.pop().unwrap().close().await.unwrap();
    for (url, user) in urls.iter().zip(["comes-0", "comes-1"]) {
        let mut client = enter(url, user, &room).await;
        until_degraded(&mut client).await;
        client.send(&room, user, "let in").await.unwrap();
        here.push(client);
    }
    pass(away()).await;
    talk.goes_on(8).await;
    assert_eq!(ledger.count(OVER).await, 0, "tickets wait on");

    deployment.start().await;
    for gateway in &gateways {
        eventually(SOON, "presence is the truth", async || {
            shown(*gateway, &everybody)
                .await
                .is_some_and(|shown| shown == ["ONLINE", "ONLINE", "OFFLINE", "ONLINE", "ONLINE"])
        })
        .await;
    }
    until_offline(&mut watcher, "leaver").await;
    let meets = join(&urls[1], "meets", "male", "female").await;
    for client in [waits, meets] {
        let matched = tokio::time::timeout(SOON, matched(client)).await.expect("a match");
        assert_eq!(matched.users, ["meets", "waits"]);
    }
    talk.end_among_others(&ledger).await;
}

const OVER: &str = "select count(*) from mm_tickets where ended_at is not null";

async fn enter(url: &str, user: &str, room: &str) -> Client {
    let mut client = greet(url, user, Encoding::Json, None).await.unwrap();
    client.room_join(room, None).await.unwrap();
    client
}

/// Hears that presence is degraded, and of nobody who went.
async fn until_degraded(client: &mut Client) {
    let until = Instant::now() + SOON;
    loop {
        let event = timeout_at(until, client.event()).await.expect("it is told").unwrap();
        assert_not_offline(&event);
        if let Kind::Degraded(degraded) = event
            && degraded.states.iter().any(|state| state == "presence")
        {
            return;
        }
    }
}

/// Hears that `leaver` went, and nobody else.
async fn until_offline(watcher: &mut Client, leaver: &str) {
    let until = Instant::now() + SOON;
    loop {
        let event = timeout_at(until, watcher.event()).await.expect("it is told").unwrap();
        match &event {
            Kind::Presence(presence) if presence.user_id == leaver => {
                if presence.status() == PresenceStatus::Offline {
                    return;
                }
            }
            _ => assert_not_offline(&event),
        }
    }
}

fn assert_not_offline(event: &Kind) {
    if let Kind::Presence(presence) = event {
        let came_later = presence.user_id.starts_with("comes-");
        assert!(came_later || presence.status() != PresenceStatus::Offline, "{presence:?}");
    }
}

/// What the watcher is shown over HTTP.
async fn shown(gateway: std::net::SocketAddr, users: &[&str]) -> Option<Vec<String>> {
    let query: Vec<_> = users.iter().map(|user| format!("user={user}")).collect();
    let path = format!("/api/presence?{}", query.join("&"));
    let answer = http::get(gateway, &path, &token("watcher")).await;
    let presences = answer.body["presences"].as_array()?.clone();
    Some(presences.iter().map(|it| it["status"].as_str().unwrap().to_owned()).collect())
}
