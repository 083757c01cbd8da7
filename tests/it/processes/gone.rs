//! A service is gone: every process of one role is killed and stays away, under
//! users who talk and join over two gateways.

mod chat;
mod matchmaking;
mod presence;
mod ratelimit;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use mingle_client::ws::{
    Client, Encoding, Error,
    proto::{Matched, TicketState, server_frame::Kind},
};
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tokio::time::timeout;

use super::pairs;
use crate::{
    checker::{self, Crowd, Tally},
    http,
    ledger::Ledger,
    nemesis,
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

/// Pairs who talk all the while, one of each at each gateway.
struct Talk {
    tally: Arc<Tally>,
    ledger: Ledger,
    crowd: Crowd,
}

impl Talk {
    async fn start(deployment: &Deployment, pairs: usize, pause: Duration) -> Self {
        let seed = nemesis::seed();
        eprintln!("MINGLE_TEST_SEED={seed}");
        let ledger = Ledger::postgres(&deployment.database().url).await;
        let gateways = deployment.gateways();
        let gateways = [vec![gateways[0]], vec![gateways[1]]];
        let crowd = pairs::talk(deployment, (pairs, pause), gateways, seed).await;
        Self { tally: crowd.tally.clone(), ledger, crowd }
    }

    fn acknowledged(&self) -> usize {
        self.tally.acknowledged.load(Relaxed)
    }

    fn retried(&self) -> usize {
        self.tally.retried.load(Relaxed)
    }

    /// So many more are acknowledged.
    async fn goes_on(&self, more: usize) {
        let before = self.acknowledged();
        eventually(SOON, "the talk goes on", async || self.acknowledged() >= before + more).await;
    }

    /// What was acknowledged is there once, and everybody heard the log.
    async fn end(self) {
        let journals = self.crowd.end(&self.ledger).await;
        let mut rows = self.ledger.rows().await;
        // What others say in other rooms is in no journal.
        let stays = |room: &String| {
            journals.iter().any(|it| it.stays.iter().any(|stay| stay.room == *room))
        };
        rows.rooms.retain(|room, _| stays(room));
        let verdict = checker::check(&journals, &rows);
        assert!(verdict.0.is_empty(), "{verdict}");
    }
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
