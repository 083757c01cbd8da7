//! What an outage leaves behind: shares, and refunds that are owed.

use std::time::{Duration, Instant};

use mingle_ratelimit::domain::Verdict;
use mingle_testkit::eventually;

use super::sides::Stage;
use crate::world::{SOON, refund};

/// Longer than anybody who says nothing counts.
const FORGOTTEN: Duration = Duration::from_secs(7);
/// The set of those who live, with two more that never fall silent.
const OTHERS: [&str; 6] = ["ZADD", "mingle:{rl-instances}:1", "9e15", "one", "9e15", "other"];

/// One instance that has counted two others.
async fn among_three() -> Stage {
    let stage = Stage::of(1).await;
    stage.acquainted().await;
    assert_eq!(stage.server.cli(&OTHERS), "2");
    for _ in 0..2 {
        let heard = stage.heard();
        eventually(SOON, "another beat", async || stage.heard() != heard).await;
    }
    stage
}

/// A server that was away knows nobody, and each instance is the first, or the
/// second, to be back: would it count with that, and the server go again, they
/// would admit a quota and a half of it and so on.
#[tokio::test]
async fn who_comes_back_first_does_not_take_the_others_for_gone() {
    let stage = among_three().await;
    for round in ["once", "twice"] {
        stage.server.kill();
        stage.flipped(true).await;
        assert_eq!(stage.take(0, round, "ten").await.alone_of(), Some(3), "{round}");
        stage.server.restart_empty().await;
        stage.flipped(false).await;
    }
    // It is decided alone about a limit that cannot be read.
    assert_eq!(stage.take(0, "together", "ten").await.alone_of(), None);
    stage.spoil("ten");
    eventually(SOON, "they had their time to be back", async || {
        stage.take(0, "spoilt", "ten").await.alone_of() == Some(1)
    })
    .await;
}

/// The same of one that was frozen, and has its data still.
#[tokio::test]
async fn who_is_heard_first_after_a_freeze_does_not_take_the_others_for_gone() {
    let stage = among_three().await;
    // They will have been silent for too long when it wakes.
    let now = stage.server.cli(&["TIME"]);
    let now = format!("{}000", now.lines().next().unwrap());
    let past = ["ZADD", OTHERS[1], "XX", &now, "one", &now, "other"];
    assert_eq!(stage.server.cli(&past), "0", "nobody new");
    stage.server.freeze();
    let frozen = Instant::now();
    stage.flipped(true).await;
    eventually(SOON, "frozen for long", async || frozen.elapsed() > FORGOTTEN).await;
    stage.server.thaw();
    stage.flipped(false).await;
    stage.server.kill();
    stage.flipped(true).await;
    assert_eq!(stage.take(0, "woken", "ten").await.alone_of(), Some(3));
}

/// What cannot be given back is one subject's loss, and no outage of all.
#[tokio::test]
async fn a_refund_that_is_refused_for_good_does_not_stand_before_the_others() {
    let stage = Stage::of(1).await;
    stage.acquainted().await;
    assert_eq!(stage.take_of(0, "a", &["ten", "three"]).await.alone_of(), None);
    assert_eq!(stage.take(0, "b", "ten").await.standings[0].remaining, 8);
    stage.spoil("three");
    stage.server.kill();
    stage.flipped(true).await;
    let instance = &stage.instances[0];
    for id in ["a", "b"] {
        assert!(refund(instance, "ann", id, false).await.unwrap(), "{id} is given back here");
    }
    stage.server.restart().await;
    stage.flipped(false).await;
    eventually(SOON, "the other one is paid", async || stage.left(0, "ten").await == 9).await;
    stage.acquainted().await;
    assert_eq!(stage.left(0, "ten").await, 9, "nothing of the refused one was given back");
    let mut changes = instance.breaker().changes();
    changes.borrow_and_update();
    // A refund that is refused while nothing is away is owed as well.
    assert!(refund(instance, "ann", "a", false).await.is_ok());
    let flip = tokio::time::timeout(Duration::from_secs(4), changes.changed()).await;
    assert!(flip.is_err(), "several probes have met it");
    assert_eq!(stage.left(0, "ten").await, 9);
}

/// Whoever asks again for what was given back relies on the charge.
#[tokio::test]
async fn what_is_asked_for_again_is_not_given_back_any_more() {
    let stage = Stage::of(1).await;
    stage.acquainted().await;
    assert_eq!(stage.take(0, "a", "ten").await.alone_of(), None);
    assert_eq!(stage.take(0, "b", "ten").await.alone_of(), None);
    stage.server.kill();
    stage.flipped(true).await;
    for id in ["a", "b"] {
        assert!(refund(&stage.instances[0], "ann", id, false).await.unwrap());
    }
    assert_eq!(stage.take(0, "a", "ten").await.verdict, Verdict::Allowed);
    stage.server.restart().await;
    stage.flipped(false).await;
    eventually(SOON, "the other is paid", async || stage.left(0, "ten").await > 8).await;
    stage.acquainted().await;
    assert_eq!(stage.left(0, "ten").await, 9);
    assert_eq!(stage.take(0, "a", "ten").await.verdict, Verdict::Repeated, "it stands");
}
