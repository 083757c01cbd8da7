//! Pairs who talk, each in a room of their own: the load of many tests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use mingle_client::ws::{Client, Encoding, proto::Position};
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tokio::time::Instant;

use super::urls;
use crate::{
    checker::{self, Crowd, Journal, Person, Tally, What, figures},
    http,
    ledger::Ledger,
    nemesis,
    world::{SOON, greet, logged, next_event, token},
};

/// Heads are compared so seldom that a test sees what is not delivered.
pub(super) const SELDOM: (&str, &str) = ("MINGLE_CHAT__HEADS_MS", "120000");
/// Far longer than a delivery takes, also where the way changes meanwhile.
const DELIVERED: Duration = Duration::from_secs(12);

/// So many pairs, and how often each user says something.
pub(super) type Load = (usize, Duration);

/// Pairs who talk until they are told that it is over.
pub(super) struct Talk {
    pub(super) tally: Arc<Tally>,
    pub(super) seed: u64,
    crowd: Crowd,
    pairs: usize,
}

impl Talk {
    /// One of each pair stays at the first gateway, the other at the second.
    pub(super) async fn across(deployment: &Deployment, load: Load) -> Self {
        let gateways = deployment.gateways();
        Self::between([vec![gateways[0]], vec![gateways[1]]], load).await
    }

    /// All at any of the gateways, and at another one when theirs is gone.
    pub(super) async fn around(gateways: Vec<SocketAddr>, load: Load) -> Self {
        Self::between([gateways.clone(), gateways], load).await
    }

    async fn between(gateways: [Vec<SocketAddr>; 2], (pairs, every): Load) -> Self {
        let seed = nemesis::seed();
        eprintln!("MINGLE_TEST_SEED={seed}");
        let mut crowd = Crowd::new();
        for (pair, seed) in (0..pairs).zip((seed..).step_by(2)) {
            let users = names(pair);
            let body = json!({"kind": "DIRECT", "memberIds": users});
            let at = gateways[0][0];
            let room = http::post(at, "/api/rooms", &token(&users[0]), &body).await.ok();
            let room = room["roomId"].as_str().unwrap();
            for ((user, gateways), seed) in users.iter().zip(&gateways).zip(seed..) {
                let person = Person::new(user, gateways.clone(), seed, crowd.tally.clone());
                crowd.add(|phase| checker::speak(person, room.to_owned(), every, phase));
            }
        }
        Self { tally: crowd.tally.clone(), seed, crowd, pairs }
    }

    pub(super) fn users(&self) -> Vec<String> {
        (0..self.pairs).flat_map(names).collect()
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.tally.acknowledged.load(Relaxed)
    }

    pub(super) fn retried(&self) -> usize {
        self.tally.retried.load(Relaxed)
    }

    pub(super) fn resumed(&self) -> usize {
        self.tally.resumed.load(Relaxed)
    }

    /// So many more messages are acknowledged.
    pub(super) async fn goes_on(&self, more: usize) {
        let enough = self.acknowledged() + more;
        eventually(SOON * 2, "the pairs talk on", async || self.acknowledged() >= enough).await;
    }

    /// So many more requests have to be made again, while `again` goes on.
    pub(super) async fn is_refused(&self, more: usize, again: impl Fn()) {
        let enough = self.retried() + more;
        eventually(SOON * 2, "sends are refused", async || {
            again();
            self.retried() >= enough
        })
        .await;
    }

    /// What was acknowledged is there once, nothing else is, and everybody heard
    /// the log.
    pub(super) async fn end(self, ledger: &Ledger) -> Vec<Journal> {
        self.end_where(ledger, |_, _| true).await
    }

    /// The same for the rooms of the pairs; others talk elsewhere.
    pub(super) async fn end_among_others(self, ledger: &Ledger) -> Vec<Journal> {
        let theirs = |journals: &[Journal], room: &str| {
            journals.iter().any(|it| it.stays.iter().any(|stay| stay.room == room))
        };
        self.end_where(ledger, theirs).await
    }

    async fn end_where(
        self,
        ledger: &Ledger,
        counts: impl Fn(&[Journal], &str) -> bool,
    ) -> Vec<Journal> {
        let (said, seed) = (self.acknowledged(), self.seed);
        let journals = self.crowd.end(ledger).await;
        let mut rows = ledger.rows().await;
        rows.rooms.retain(|room, _| counts(&journals, room));
        let verdict = checker::check(&journals, &rows);
        assert!(verdict.0.is_empty(), "MINGLE_TEST_SEED={seed}\n{verdict}");
        eprintln!(
            "{said} acknowledged, {} of requests made again",
            self.tally.retried.load(Relaxed)
        );
        journals
    }
}

/// Nothing that was acknowledged in this span was only found when heads were
/// compared, which [`SELDOM`] puts off.
pub(super) fn assert_delivered(journals: &[Journal], span: (Instant, Instant)) {
    let longest = figures(journals, span).longest.get(&What::Hear).copied();
    eprintln!("heard {longest:?} after the acknowledgement, at the most");
    let longest = longest.expect("something to be heard");
    assert!(longest < DELIVERED, "heard after {longest:?} only");
}

/// What was refused, and how often, by the reason that was told.
pub(super) fn refusals(journals: &[Journal]) -> BTreeMap<String, usize> {
    let mut refusals = BTreeMap::new();
    for (_, reason) in journals.iter().flat_map(|journal| &journal.failures) {
        *refusals.entry(reason.clone()).or_default() += 1;
    }
    eprintln!("refused: {refusals:?}");
    refusals
}

fn names(pair: usize) -> [String; 2] {
    [format!("ann-{pair}"), format!("bob-{pair}")]
}

/// Two with a room of their own, which both follow, each at a gateway.
pub(super) async fn follow(deployment: &Deployment, pair: usize) -> (String, Client, Client) {
    let users = names(pair);
    let body = json!({"kind": "DIRECT", "memberIds": users});
    let made = http::post(deployment.gateways()[0], "/api/rooms", &token(&users[0]), &body).await;
    let room = made.ok()["roomId"].as_str().unwrap().to_owned();
    let mut clients = Vec::new();
    for (user, url) in users.iter().zip(urls(deployment)) {
        let mut client = greet(&url, user, Encoding::Json, None).await.unwrap();
        client.room_join(&room, Some(Position::default())).await.unwrap();
        clients.push(client);
    }
    let bob = clients.pop().unwrap();
    (room, clients.pop().unwrap(), bob)
}

/// Hears up to a message, once.
pub(super) async fn hear(bob: &mut Client, message: &Position) {
    loop {
        let event = next_event(bob).await.unwrap();
        if let Some((_, position)) = logged(&event)
            && position.seq >= message.seq
        {
            assert_eq!(position, *message, "one event, the committed one");
            return;
        }
    }
}
