//! Pairs who talk over two gateways, strangers who meet, somebody who watches and
//! somebody who says as much as they are let, whatever becomes of Redis meanwhile.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use mingle_testkit::{Deployment, Plan, eventually};
use tokio::time::Instant;

use super::{
    bystanders::{self, Watcher},
    hasty::Hasty,
    health::describe,
    limits::{QUOTA, WINDOW, limited},
    pairs::{SELDOM, Talk, assert_delivered},
    searchers::Searchers,
    urls,
};
use crate::{ledger::Ledger, world::SOON};

/// Pairs of strangers who come and meet in each state.
const MEET: usize = 3;
/// Who is watched: as many as one connection may.
const WATCHED: usize = 256;
/// The processes that listen to the bus: cache, ratelimit, presence, and two each of the
/// two.
pub(super) const LISTENERS: usize = 7;

/// How many there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pairs: usize,
    searchers: usize,
    /// Each of them does something so often.
    every: Duration,
    /// Messages acknowledged in each state.
    between: usize,
}

/// 120 messages and 20 who look for somebody a second.
pub(super) const LIGHT: Load =
    Load { pairs: 30, searchers: 10, every: Duration::from_millis(500), between: 200 };
/// 1,000 messages and 200 who look for somebody a second.
pub(super) const HEAVY: Load =
    Load { pairs: 250, searchers: 100, every: Duration::from_millis(500), between: 2_000 };

/// See the module.
pub(super) struct People<'a> {
    deployment: &'a Deployment,
    load: Load,
    ledger: Ledger,
    talk: Talk,
    searchers: Searchers,
    watcher: Watcher,
    hasty: Hasty,
    strangers: usize,
    /// In which what was said must have been heard.
    spans: Vec<(Instant, Instant)>,
}

/// What was done up to a moment.
pub(super) struct Done {
    at: Instant,
    said: usize,
    met: usize,
}

impl Done {
    /// How long that is ago.
    pub(super) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }
}

/// The processes for them.
pub(super) fn plan() -> Plan {
    limited()
        .count("chat", 2)
        .env("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__WINDOW", format!("{}s", WINDOW.as_secs()))
        .env(SELDOM.0, SELDOM.1)
        // Few who look on and on have met each other soon.
        .env("MINGLE_MATCHMAKING__POOLS__RANDOM-CHAT__RECENT_PARTNER_MEMORY_MS", "0")
}

impl<'a> People<'a> {
    pub(super) async fn start(deployment: &'a Deployment, load: Load) -> Self {
        let ledger = Ledger::postgres(&deployment.database().url).await;
        let talk = Talk::across(deployment, (load.pairs, load.every)).await;
        talk.goes_on(load.between).await;
        let searchers = Searchers::start(deployment, load.searchers, load.every, talk.seed);
        let users = talk.users();
        let watched = &users[..users.len().min(WATCHED)];
        let watcher = Watcher::start(&urls(deployment)[0], watched).await;
        let hasty = Hasty::start(deployment).await;
        let (strangers, spans) = (0, Vec::new());
        Self { deployment, load, ledger, talk, searchers, watcher, hasty, strangers, spans }
    }

    /// Waits until some more is said.
    pub(super) async fn talk(&self) {
        self.talk.goes_on(self.load.between).await;
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

    /// What went on until now.
    pub(super) fn done(&self) -> Done {
        let met = self.searchers.tally().called.load(Relaxed);
        Done { at: Instant::now(), said: self.talk.acknowledged(), met }
    }

    /// What began then is over.
    pub(super) fn note(&mut self, begin: &Done) {
        let now = self.done();
        let each = |now: usize, then: usize| (now - then) as f64 / begin.at.elapsed().as_secs_f64();
        let (said, met) = (each(now.said, begin.said), each(now.met, begin.met));
        eprintln!("{said:.0} messages and {met:.0} matched a second, that included");
        self.spans.push((begin.at, now.at));
    }

    /// Ends it: nothing was lost, nobody was matched twice, and a limit admitted no
    /// more than what an election loses of a window once more.
    pub(super) async fn end(self) {
        let most = self.hasty.most_within(WINDOW).await;
        eprintln!("{most} of {QUOTA} were admitted within {WINDOW:?}, at the most");
        assert!((QUOTA..=2 * QUOTA).contains(&most), "{most} admitted of {QUOTA}");
        let searched = self.searchers.end(&self.ledger).await;
        eprintln!("{searched} of those who look on and on were matched");
        assert!(searched > self.load.searchers, "they met");
        assert_eq!(self.talk.resumed(), 0, "no socket was lost");
        self.watcher.assert_saw_nobody_leave();
        let journals = self.talk.end_among_others(&self.ledger).await;
        for span in self.spans {
            assert_delivered(&journals, span);
        }
        let matched = "select count(*) from mm_tickets where state = 'matched'";
        let strangers = i64::try_from(self.strangers + searched).unwrap();
        assert_eq!(self.ledger.count(matched).await, strangers, "each once");
        let matches = "select count(*) from mm_matches where room_id is not null";
        assert_eq!(self.ledger.count(matches).await * 2, strangers);
    }
}
