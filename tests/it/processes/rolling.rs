//! A new version is rolled out: every gateway and every chat ends by SIGTERM
//! and starts again, one after the other, while pairs talk over them.

use std::time::{Duration, Instant};

use mingle_testkit::{Deployment, eventually};

use super::{pairs::Talk, plan};
use crate::ledger::Ledger;

const PAIRS: usize = 20;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_millis(200);
const ROUNDS: usize = 2;
/// Those that end and start again in each round, in this order.
const ROLLED: [(&str, usize); 4] = [("gateway", 0), ("gateway", 1), ("chat", 0), ("chat", 1)];
/// The processes' own, as configured by default, and what a busy machine adds.
const GRACE: Duration = Duration::from_secs(15);
/// Nobody talks for so long: for PostgreSQL's sessions tell what they did a
/// second later.
const IDLE: Duration = Duration::from_secs(6);
/// Messages before anything ends: what is usual. Long beside the second after
/// which PostgreSQL's sessions tell what they did.
const BASE: usize = 2_400;
/// Messages between two ends: some seconds, as whoever rolls a deployment waits.
const BETWEEN: usize = 900;

/// What was done, by the clients and by PostgreSQL, up to a moment.
struct Mark {
    at: Instant,
    said: usize,
    transactions: i64,
    /// Those of them that append.
    appends: i64,
}

impl Mark {
    async fn now(said: usize, ledger: &Ledger) -> Self {
        let transactions = ledger.transactions().await;
        Self { at: Instant::now(), said, transactions, appends: ledger.appends().await }
    }

    /// Transactions in a second since `earlier` that append nothing.
    fn rate_since(&self, earlier: &Self) -> f64 {
        let all = self.transactions - earlier.transactions;
        (all - (self.appends - earlier.appends)) as f64 / (self.at - earlier.at).as_secs_f64()
    }

    /// Transactions for each message since `earlier`, without those that happen
    /// when nobody talks: one that appends it, however many messages share one on
    /// a busy machine, and what is read because of it. Not per second: that is
    /// less when clients are away, and would forgive each restart its storm.
    fn cost_since(&self, earlier: &Self, idle: f64) -> f64 {
        let seconds = (self.at - earlier.at).as_secs_f64();
        let said = (self.said - earlier.said) as f64;
        1.0 + (self.rate_since(earlier) - idle) * seconds / said
    }
}

/// Transactions in a second while nobody talks.
async fn idle(ledger: &Ledger) -> f64 {
    let begin = Mark::now(0, ledger).await;
    eventually(IDLE * 2, "idle for a while", async || begin.at.elapsed() > IDLE).await;
    Mark::now(0, ledger).await.rate_since(&begin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_costs_nobody_a_message() {
    let mut deployment = plan().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let idle = idle(&ledger).await;
    let talk = Talk::around(deployment.gateways(), (PAIRS, PAUSE)).await;
    talk.goes_on(BETWEEN).await;

    let begin = Mark::now(talk.acknowledged(), &ledger).await;
    talk.goes_on(BASE).await;
    let usual = Mark::now(talk.acknowledged(), &ledger).await;
    let mut ends = 0;
    for _ in 0..ROUNDS {
        for (role, nth) in ROLLED {
            roll(&mut deployment, role, nth, &talk).await;
            ends += 1;
        }
    }
    let rolled = Mark::now(talk.acknowledged(), &ledger).await;
    let (resumed, retried) = (talk.resumed(), talk.retried());
    talk.end(&ledger).await;

    let (base, cost) = (usual.cost_since(&begin, idle), rolled.cost_since(&usual, idle));
    eprintln!(
        "{ends} SIGTERMs under {} messages; {resumed} resumed, {retried} sends tried again; \
         {base:.2} transactions per message before, {cost:.2} meanwhile, beside {idle:.1}/s idle",
        rolled.said - usual.said
    );
    // Each user's gateway ends at least once a round.
    assert!(resumed >= ROUNDS * 2 * PAIRS, "{resumed} resumed");
    assert!(cost <= 1.5 * base, "{base:.2} transactions per message became {cost:.2}");
}

/// Ends one process in good order and starts its successor; the pairs talk
/// meanwhile and afterwards.
async fn roll(deployment: &mut Deployment, role: &'static str, nth: usize, talk: &Talk) {
    let said = talk.acknowledged();
    let ended = deployment.stop(role, nth, GRACE).await;
    assert_eq!(ended.status.code(), Some(0), "{role} {nth}: an orderly end");
    assert!(!ended.log.contains("grace period is over"), "{role} {nth}: {}", ended.log);
    deployment.start().await;
    assert!(talk.acknowledged() > said, "nobody talked while {role} {nth} was gone");
    talk.goes_on(BETWEEN).await;
}
