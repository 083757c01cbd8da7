//! A new version is rolled out: every gateway and every chat ends by SIGTERM
//! and starts again, one after the other, while pairs talk over them.

use std::time::Duration;

use mingle_testkit::Deployment;

use super::{pairs::Talk, plan};
use crate::ledger::Ledger;

const PAIRS: usize = 20;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_millis(300);
const ROUNDS: usize = 2;
/// Those that end and start again in each round, in this order.
const ROLLED: [(&str, usize); 4] = [("gateway", 0), ("gateway", 1), ("chat", 0), ("chat", 1)];
/// The processes' own, as configured by default, and what a busy machine adds.
const GRACE: Duration = Duration::from_secs(15);
/// Messages before anything ends: what is usual.
const BASE: usize = 800;
/// Messages between two ends.
const BETWEEN: usize = 300;

const TRANSACTIONS: &str =
    "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";

/// What was done, by the clients and by PostgreSQL, up to a moment.
struct Mark {
    said: usize,
    transactions: i64,
}

impl Mark {
    async fn now(talk: &Talk, ledger: &Ledger) -> Self {
        Self { said: talk.acknowledged(), transactions: ledger.count(TRANSACTIONS).await }
    }

    /// Transactions per message since `earlier`: not per second, which is less
    /// when clients are away and would forgive each restart its storm.
    fn cost_since(&self, earlier: &Self) -> f64 {
        let transactions = (self.transactions - earlier.transactions) as f64;
        transactions / (self.said - earlier.said) as f64
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_costs_nobody_a_message() {
    let mut deployment = plan().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::around(deployment.gateways(), (PAIRS, PAUSE)).await;
    talk.goes_on(BETWEEN).await;

    let begin = Mark::now(&talk, &ledger).await;
    talk.goes_on(BASE).await;
    let usual = Mark::now(&talk, &ledger).await;
    let mut ends = 0;
    for _ in 0..ROUNDS {
        for (role, nth) in ROLLED {
            roll(&mut deployment, role, nth, &talk).await;
            ends += 1;
        }
    }
    let rolled = Mark::now(&talk, &ledger).await;
    let (resumed, retried) = (talk.resumed(), talk.retried());
    talk.end(&ledger).await;

    let (base, cost) = (usual.cost_since(&begin), rolled.cost_since(&usual));
    eprintln!(
        "{ends} SIGTERMs under {} messages; {resumed} resumed, {retried} sends tried again; \
         {base:.2} transactions per message before, {cost:.2} meanwhile",
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
