//! `kill -9` of a gateway in mid conversation.

use std::time::Duration;

use mingle_client::ws::Encoding;
use tokio::time::Instant;

use super::{bystanders::Watcher, pairs::Talk, plan, urls};
use crate::{ledger::Ledger, world::greet};

const PAIRS: usize = 20;
/// Users of the killed gateway who never come back.
const GONE: usize = 5;
const PAUSE: Duration = Duration::from_millis(300);
/// Messages before the kill.
const BEFORE: usize = 200;
/// Lease 3 s and grace 10 s, a renewal that was just made, and what a busy machine
/// adds.
const OFFLINE: Duration = Duration::from_secs(20);
/// Of one message: it is appended, and told to others.
const OF_A_MESSAGE: f64 = 3.0;
/// Of one who comes back: what a hello, a room and its log cost.
const OF_A_RETURN: f64 = 20.0;
/// Of all processes together in a second in which nothing happens.
const IDLE: f64 = 60.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_killed_gateway_go_on_at_the_other() {
    let mut deployment = plan().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::around(deployment.gateways(), (PAIRS, PAUSE)).await;
    let urls = urls(&deployment);
    let names: Vec<_> = (0..GONE).map(|at| format!("gone-{at}")).collect();
    let mut leavers = Vec::new();
    for user in &names {
        leavers.push(greet(&urls[0], user, Encoding::Proto, None).await.unwrap());
    }
    let watched = [talk.users(), names.clone()].concat();
    let mut watcher = Watcher::start(&urls[1], &watched).await;
    talk.goes_on(BEFORE).await;

    let (said, transactions) = (talk.acknowledged(), ledger.transactions().await);
    let killed = Instant::now();
    deployment.kill9("gateway", 0);
    watcher.hears_gone(&names, OFFLINE).await;
    let took = killed.elapsed();
    let (said, transactions) =
        (talk.acknowledged() - said, ledger.transactions().await - transactions);
    let resumed = talk.resumed();
    talk.end(&ledger).await;
    // Nobody else was, until the pairs were done.
    watcher.assert_saw_only(&names);

    eprintln!(
        "{resumed} resumed; offline after {took:?}; {transactions} transactions and {said} \
         messages meanwhile"
    );
    assert!(resumed > PAIRS / 2, "{resumed} resumed");
    assert!(said > 0, "nobody talked on");
    let bound = OF_A_MESSAGE * said as f64
        + OF_A_RETURN * resumed as f64
        + IDLE * (took.as_secs_f64() + 1.0);
    assert!((transactions as f64) < bound, "{transactions} transactions, {bound} allowed");
}
