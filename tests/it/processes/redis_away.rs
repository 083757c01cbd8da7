//! Redis away for longer than any lease lasts, and a Redis that comes back
//! empty: whoever stays connected is offline to nobody and waits on.

use std::time::{Duration, Instant};

use mingle_client::ws::{
    Client, Encoding,
    proto::{Matched, PresenceStatus, TicketState, server_frame::Kind},
};
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};

use super::{plan, urls};
use crate::{
    http,
    world::{SOON, greet, token},
};

const STAYING: usize = 10;
/// Shorter than by default: a closed socket is told so much sooner.
const GRACE_MS: &str = "3000";
/// Longer than lease and grace, 6 s.
const AWAY: Duration = Duration::from_secs(9);

/// Reads what comes until it is a match, as a page that is open does.
fn live(mut client: Client) -> JoinHandle<Matched> {
    tokio::spawn(async move {
        loop {
            if let Kind::Matched(matched) = client.event().await.unwrap() {
                return matched;
            }
        }
    })
}

async fn room(deployment: &Deployment) -> String {
    let body = json!({"kind": "CHANNEL", "name": "all"});
    let gateway = deployment.gateways()[0];
    let room = http::post(gateway, "/api/rooms", &token("watcher"), &body).await.ok();
    room["roomId"].as_str().unwrap().to_owned()
}

/// Hears who is offline until the last of those who left is. States are told
/// again after a gap.
async fn assert_offline_are_only(watcher: &mut Client, left: &[String]) {
    let until = Instant::now() + SOON;
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        let event = timeout(rest, watcher.event()).await.expect("who left is told").unwrap();
        if let Kind::Presence(presence) = event
            && presence.status() == PresenceStatus::Offline
        {
            assert!(left.contains(&presence.user_id), "{presence:?}");
            if left.last() == Some(&presence.user_id) {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stays_connected_is_never_offline_and_keeps_the_ticket() {
    let deployment = plan().env("MINGLE_PRESENCE__GRACE_MS", GRACE_MS).start().await;
    let urls = urls(&deployment);
    let room = room(&deployment).await;
    let mut users: Vec<_> = (0..STAYING).map(|at| format!("stays-{at}")).collect();
    users.extend(["first".to_owned(), "second".to_owned()]);
    let mut clients = Vec::new();
    for (user, at) in users.iter().zip(0..) {
        let mut client = greet(&urls[at % 2], user, Encoding::Json, None).await.unwrap();
        client.room_join(&room, None).await.unwrap();
        clients.push(client);
    }
    let leavers = clients.split_off(STAYING);
    let mut lives = Vec::new();
    for mut client in clients {
        // Nobody of them would meet another.
        let of = [("gender", "female")];
        let ticket = client.match_join("random-chat", &of, &[("gender", &["male"])]).await.unwrap();
        assert_eq!(ticket.state(), TicketState::Waiting);
        lives.push(live(client));
    }
    let mut watcher = greet(&urls[1], "watcher", Encoding::Proto, None).await.unwrap();
    let watched: Vec<&str> = users.iter().map(String::as_str).collect();
    eventually(SOON, "everybody is online", async || {
        let presences = watcher.presence_watch(&watched).await.unwrap().presences;
        presences.iter().all(|it| it.status() == PresenceStatus::Online)
    })
    .await;

    let mut left = Vec::new();
    for (leaver, restarts) in leavers.into_iter().zip([false, true]) {
        left.push(leaver.welcome().unwrap().user_id.clone());
        if restarts {
            deployment.redis().restart_empty().await;
            leaver.close().await.unwrap();
        } else {
            deployment.redis().freeze();
            let away = Instant::now();
            leaver.close().await.unwrap();
            eventually(SOON, "leases would be over", async || away.elapsed() > AWAY).await;
            deployment.redis().thaw();
        }
        assert_offline_are_only(&mut watcher, &left).await;
    }
    // All tickets are there still: as many partners meet them.
    for at in 0..STAYING {
        let partner = format!("partner-{at}");
        let mut client = greet(&urls[at % 2], &partner, Encoding::Json, None).await.unwrap();
        let of = [("gender", "male")];
        client.match_join("random-chat", &of, &[("gender", &["female"])]).await.unwrap();
        let matched = timeout(SOON, live(client)).await.expect("a match").unwrap();
        assert!(matched.users.iter().any(|user| user.starts_with("stays-")), "{matched:?}");
    }
    for live in lives {
        timeout(SOON, live).await.expect("a match").unwrap();
    }
}
