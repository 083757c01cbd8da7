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

use futures::future::join_all;
use mingle_client::ws::{
    Client, Encoding, Error,
    proto::{Matched, TicketState, server_frame::Kind},
};
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tokio::{
    sync::{Barrier, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    chat_killed::assert_as_in,
    speaker::{Speaker, Tally},
    urls,
};
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

/// Pairs who talk all the while, one at each gateway.
struct Talk {
    tally: Arc<Tally>,
    ledger: Arc<Ledger>,
    end: watch::Sender<bool>,
    speakers: Vec<JoinHandle<Speaker>>,
}

impl Talk {
    async fn start(deployment: &Deployment, pairs: usize, pause: Duration) -> Self {
        let ledger = Arc::new(Ledger::postgres(&deployment.database().url).await);
        let (tally, quiet) = (Arc::new(Tally::default()), Arc::new(Barrier::new(2 * pairs)));
        let (end, over) = watch::channel(false);
        let mut speakers = Vec::new();
        for pair in 0..pairs {
            let users = [format!("ann-{pair}"), format!("bob-{pair}")];
            let room = make_room(deployment.gateways()[0], &users[0]).await;
            for (user, first) in users.iter().zip(0..) {
                let mut urls = urls(deployment);
                urls.rotate_left(first);
                let speaker = Speaker::new(user, &room, urls, tally.clone());
                let end = (quiet.clone(), ledger.clone());
                speakers.push(tokio::spawn(speaker.live(pause, over.clone(), end)));
            }
        }
        Self { tally, ledger, end, speakers }
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
        self.end.send_replace(true);
        let speakers = join_all(self.speakers).await;
        self.ledger.assert_gapless().await;
        let logs = self.ledger.rooms().await;
        for speaker in speakers {
            assert_as_in(&logs, &speaker.unwrap());
        }
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
