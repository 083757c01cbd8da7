//! `kill -9` of chat under pairs who talk over two gateways.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use mingle_testkit::Deployment;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

use super::{pairs::Talk, plan};
use crate::{http, ledger::Ledger};

const PAIRS: usize = 100;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_secs(1);
/// Messages between two kills.
const BETWEEN: usize = 200;

/// How long it goes on.
fn length() -> Duration {
    let minutes = if std::env::var_os("MINGLE_SOAK").is_some() { 10 } else { 1 };
    Duration::from_secs(minutes * 60)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_chat_loses_and_doubles_nothing() {
    let mut deployment = plan().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::around(deployment.gateways(), (PAIRS, PAUSE)).await;
    let tally = talk.tally.clone();
    let mut dice = StdRng::seed_from_u64(talk.seed);
    let (begin, mut kills) = (Instant::now(), 0);
    while begin.elapsed() < length() {
        talk.goes_on(BETWEEN).await;
        deployment.kill_and_restart("chat", dice.random_range(0..2)).await;
        kills += 1;
    }
    // Every announcement that a killed process took with it is found by heads.
    talk.end(&ledger).await;
    let by_users = tally.retried.load(Relaxed) as u64;
    let by_gateways = retries(&mut deployment).await;
    eprintln!("{kills} kills; {by_gateways} calls retried by gateways, {by_users} by users");
    assert!(by_gateways + by_users > 0, "no call met a killed process");
}

/// Calls that the gateways made again at another instance.
async fn retries(deployment: &mut Deployment) -> u64 {
    let mut retries = 0;
    for at in 0..2 {
        let probes = deployment.process("gateway", at).probes_addr();
        retries += http::counter(probes, "mingle_peer_retries_total").await;
    }
    retries
}
