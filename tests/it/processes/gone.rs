//! A service is gone: every process of one role is killed and stays away, under
//! users who talk and join over two gateways.

mod chat;
mod matchmaking;
mod presence;
mod ratelimit;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use mingle_client::ws::{
    Client, Encoding, Error,
    proto::{Matched, TicketState, server_frame::Kind},
};
use mingle_testkit::eventually;
use serde_json::json;
use tokio::time::timeout;

use super::pairs::Talk;
use crate::{
    http,
    ledger::Ledger,
    world::{SOON, greet, token},
};

/// For how long it stays away.
fn away() -> Duration {
    Duration::from_secs(if std::env::var_os("MINGLE_SOAK").is_some() { 30 } else { 8 })
}

async fn pass(time: Duration) {
    let begin = Instant::now();
    eventually(time + SOON, "time passes", async || begin.elapsed() >= time).await;
}

async fn make_room(gateway: SocketAddr, user: &str) -> String {
    let body = json!({"kind": "CHANNEL", "name": "all"});
    let room = http::post(gateway, "/api/rooms", &token(user), &body).await.ok();
    room["roomId"].as_str().unwrap().to_owned()
}

/// Two who look for each other and for nobody else are matched.
async fn meet(urls: &[String], name: &str) {
    let one = join(&urls[0], &format!("{name}-one"), "female", "male").await;
    let other = join(&urls[1], &format!("{name}-other"), "male", "female").await;
    for client in [one, other] {
        let matched = timeout(SOON, matched(client)).await.expect("a match");
        assert!(matched.users.iter().all(|user| user.starts_with(name)), "{matched:?}");
    }
}

/// Waits by a socket, whoever has to be asked again.
async fn join(url: &str, user: &str, gender: &str, wants: &str) -> Client {
    let mut client = greet(url, user, Encoding::Json, None).await.unwrap();
    let of = [("gender", gender)];
    let ticket = eventually(SOON, "a ticket", async || {
        match client.match_join("random-chat", &of, &[("gender", &[wants])]).await {
            Ok(ticket) => Some(ticket),
            Err(Error::Refused(error)) if error.retry_after_ms > 0 => None,
            Err(error) => panic!("{user}: {error}"),
        }
    })
    .await;
    assert!(matches!(ticket.state(), TicketState::Waiting | TicketState::Matched), "{ticket:?}");
    client
}

/// Reads what comes until it is a match.
async fn matched(mut client: Client) -> Matched {
    loop {
        if let Kind::Matched(matched) = client.event().await.unwrap() {
            return matched;
        }
    }
}

/// What a refusal says, of which it is told when to come again.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> (String, String) {
    match answer {
        Err(Error::Refused(error)) => {
            assert!(error.retry_after_ms > 0, "{error:?}");
            (error.code, error.reason)
        }
        other => panic!("{other:?}"),
    }
}
