//! Who guesses tokens from one address, by two gateways, one of whose clocks is ahead.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use mingle_testkit::{Deployment, eventually};

use super::plan;
use crate::{
    http::{Answer, get},
    world::SOON,
};

const ATTEMPTS: usize = 200;
const PASS: usize = 10;
/// Of the second test.
const WINDOW: Duration = Duration::from_secs(10);
/// On their way at the same time.
const AT_ONCE: usize = 8;

async fn start(window: &str) -> Deployment {
    let mut deployment = plan()
        .env("MINGLE_RATELIMIT__LIMITS__AUTH__QUOTA", PASS.to_string())
        .env("MINGLE_RATELIMIT__LIMITS__AUTH__WINDOW", window)
        .env("MINGLE_GATEWAY__CLASSES__AUTH__QUOTA", PASS.to_string())
        .env("MINGLE_GATEWAY__CLASSES__AUTH__OUTAGE", "closed")
        .start()
        .await;
    deployment.restart_ahead_by("gateway", 1, 30).await;
    deployment
}

/// One attempt: when it was made, and what was answered.
struct Attempt(Instant, Answer, Instant);

async fn guess(gateways: &[SocketAddr], attempts: usize) -> Vec<Attempt> {
    let attempt = |at: usize| async move {
        let (gateway, begin) = (gateways[at % gateways.len()], Instant::now());
        let answer = get(gateway, "/api/rooms", &format!("guess-{at}")).await;
        Attempt(begin, answer, Instant::now())
    };
    stream::iter(0..attempts).map(attempt).buffered(AT_ONCE).collect().await
}

/// Those that were judged; the others are told when to come again.
fn judged(attempts: &[Attempt], window_s: u64) -> Vec<&Attempt> {
    let is_judged = |attempt: &&Attempt| match attempt.1.problem() {
        (401, _, "TOKEN_INVALID", _) => true,
        (429, _, "RATE_LIMITED", _) => {
            let after: u64 = attempt.1.header("retry-after").parse().unwrap();
            assert!((1..=window_s).contains(&after), "{after}");
            false
        }
        other => panic!("{other:?}"),
    };
    attempts.iter().filter(is_judged).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_of_two_hundred_attempts_are_judged_in_fifteen_minutes() {
    let deployment = start("15m").await;
    let attempts = guess(&deployment.gateways(), ATTEMPTS).await;
    assert_eq!(judged(&attempts, 900).len(), PASS);
    let Attempt(_, last, _) = attempts.last().unwrap();
    let after: u64 = last.header("retry-after").parse().unwrap();
    assert!(after > 600, "{after}: from the first of them on, whoever's clock is ahead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_later_as_many_are_judged_again() {
    let deployment = start("10s").await;
    let gateways = deployment.gateways();
    let mut attempts = guess(&gateways, ATTEMPTS).await;
    let begin = Instant::now();
    eventually(WINDOW + SOON, "the window passes", async || begin.elapsed() > WINDOW).await;
    attempts.extend(guess(&gateways, ATTEMPTS).await);
    let mut judged = judged(&attempts, WINDOW.as_secs());
    judged.sort_by_key(|attempt| attempt.0);
    assert!(judged.len() >= 2 * PASS, "{} judged", judged.len());
    for (first, beyond) in judged.iter().zip(&judged[PASS..]) {
        let apart = beyond.2 - first.0;
        assert!(apart >= WINDOW, "{} judged within {apart:?}", PASS + 1);
    }
}
