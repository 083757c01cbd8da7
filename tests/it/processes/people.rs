//! Pairs who talk over two gateways, strangers who meet, somebody who watches and
//! somebody who says as much as they are let, whatever becomes of Redis meanwhile.

use std::time::Duration;

use mingle_testkit::{Deployment, Plan, eventually};
use tokio::time::Instant;

use super::{
    bystanders::{self, Watcher},
    hasty::Hasty,
    health::describe,
    limits::{QUOTA, WINDOW, limited},
    pairs::{SELDOM, Talk, assert_delivered},
    urls,
};
use crate::{ledger::Ledger, world::SOON};

const PAIRS: usize = 30;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_millis(500);
/// Messages acknowledged in each state.
const BETWEEN: usize = 200;
/// Pairs of strangers who meet in each.
const MEET: usize = 3;
/// The processes that listen to the bus: presence, and two each of the two.
pub(super) const LISTENERS: usize = 5;

/// See the module.
pub(super) struct People<'a> {
    deployment: &'a Deployment,
    ledger: Ledger,
    talk: Talk,
    watcher: Watcher,
    hasty: Hasty,
    strangers: usize,
    /// In which what was said must have been heard.
    spans: Vec<(Instant, Instant)>,
}

/// The processes for them.
pub(super) fn plan() -> Plan {
    limited()
        .count("chat", 2)
        .env("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__WINDOW", format!("{}s", WINDOW.as_secs()))
        .env(SELDOM.0, SELDOM.1)
}

impl<'a> People<'a> {
    pub(super) async fn start(deployment: &'a Deployment) -> Self {
        let ledger = Ledger::postgres(&deployment.database().url).await;
        let talk = Talk::across(deployment, (PAIRS, PAUSE)).await;
        talk.goes_on(BETWEEN).await;
        let watcher = Watcher::start(&urls(deployment)[0], &talk.users()).await;
        let hasty = Hasty::start(deployment).await;
        Self { deployment, ledger, talk, watcher, hasty, strangers: 0, spans: Vec::new() }
    }

    /// Waits until some more is said.
    pub(super) async fn talk(&self) {
        self.talk.goes_on(BETWEEN).await;
    }

    /// Has some strangers meet.
    pub(super) async fn meet(&mut self, when: &str) {
        bystanders::meet(self.deployment, MEET, when).await;
        self.strangers += 2 * MEET;
    }

    /// Waits until every service has its Redis.
    pub(super) async fn are_served(&self) {
        for role in ["chat", "matchmaking", "presence", "ratelimit"] {
            for at in self.deployment.grpc(role) {
                eventually(SOON, "a service is well", async || {
                    !describe(at).await.degraded.iter().any(|state| state == "redis")
                })
                .await;
            }
        }
    }

    /// What began then is over.
    pub(super) fn note(&mut self, begin: Instant) {
        self.spans.push((begin, Instant::now()));
    }

    /// Ends it: nothing was lost, nobody was matched twice, and a limit admitted no
    /// more than what an election loses of a window once more.
    pub(super) async fn end(self) {
        let most = self.hasty.most_within(WINDOW).await;
        eprintln!("{most} of {QUOTA} were admitted within {WINDOW:?}, at the most");
        assert!((QUOTA..=2 * QUOTA).contains(&most), "{most} admitted of {QUOTA}");
        assert_eq!(self.talk.resumed(), 0, "no socket was lost");
        let journals = self.talk.end_among_others(&self.ledger).await;
        for span in self.spans {
            assert_delivered(&journals, span);
        }
        self.watcher.assert_saw_nobody_leave();
        let matched = "select count(*) from mm_tickets where state = 'matched'";
        let strangers = i64::try_from(self.strangers).unwrap();
        assert_eq!(self.ledger.count(matched).await, strangers, "each once");
        let matches = "select count(*) from mm_matches where room_id is not null";
        assert_eq!(self.ledger.count(matches).await * 2, strangers);
    }
}
