//! Repeats and refunds.

use mingle_ratelimit::domain::Verdict;

use crate::world::{MINUTE, World};

pub(crate) async fn once(world: World) {
    let ask = world.ask("ann", "a", 1, &["three"]);
    for _ in 0..10 {
        let answer = world.check(&ask).await;
        assert!(answer.verdict.is_allowed());
        assert_eq!(answer.standings[0].remaining, 2);
    }
    assert!(world.take("ann", "b", "three").await);
    assert!(world.take("ann", "c", "three").await);
    assert!(!world.take("ann", "d", "three").await);
    assert!(world.check(&ask).await.verdict.is_allowed(), "charged before: allowed");
    assert!(world.take("bob", "a", "three").await, "ids are of one subject");
    assert_eq!(world.left("bob", "three").await, 2);
}

pub(crate) async fn reused(world: World) {
    assert!(world.take("ann", "a", "three").await);
    for ask in [
        world.ask("ann", "a", 2, &["three"]),
        world.ask("ann", "a", 1, &["ten"]),
        world.ask("ann", "a", 1, &["three", "ten"]),
    ] {
        assert_eq!(world.check(&ask).await.verdict, Verdict::Reused);
    }
    assert_eq!(world.left("ann", "three").await, 2);
    assert_eq!(world.left("ann", "ten").await, 10);
}

pub(crate) async fn denied_is_judged_anew(world: World) {
    for id in ["a", "b", "c"] {
        assert!(world.take("ann", id, "three").await);
    }
    assert!(!world.take("ann", "d", "three").await);
    assert!(!world.refund("ann", "d").await, "nothing was charged");
    world.clock.advance(MINUTE);
    assert!(world.take("ann", "d", "three").await);
}

pub(crate) async fn refund(world: World) {
    assert!(!world.refund("ann", "a").await, "unknown subject");
    for id in ["a", "b", "c"] {
        assert!(world.take("ann", id, "three").await);
        world.clock.advance(1_000);
    }
    assert!(!world.refund("ann", "nothing").await);
    assert!(!world.refund("bob", "a").await);
    assert!(world.refund("ann", "b").await);
    assert!(!world.refund("ann", "b").await, "once");
    assert_eq!(world.left("ann", "three").await, 1);
    assert!(world.take("ann", "b", "three").await, "charged anew");
    assert!(!world.take("ann", "d", "three").await);
    let several = world.ask("ann", "e", 4, &["ten", "watched"]);
    assert!(world.check(&several).await.verdict.is_allowed());
    assert_eq!(world.left("ann", "ten").await, 6);
    assert!(world.refund("ann", "e").await);
    assert_eq!(world.left("ann", "ten").await, 10);
}

/// Who paid may not give back what another relies on.
pub(crate) async fn refund_unless_repeated(world: World) {
    for id in ["a", "b"] {
        assert!(world.take("ann", id, "three").await);
    }
    for _ in 0..2 {
        assert!(world.take("ann", "a", "three").await, "found made already");
        assert!(!world.refund_unless_repeated("ann", "a").await);
    }
    assert!(world.refund_unless_repeated("ann", "b").await);
    assert_eq!(world.left("ann", "three").await, 2);
    let other = world.ask("ann", "a", 1, &["ten"]);
    assert_eq!(world.check(&other).await.verdict, Verdict::Reused);
    assert!(world.refund("ann", "a").await, "whatever else is there");
    assert!(world.take("ann", "a", "three").await, "charged anew");
    assert!(world.refund_unless_repeated("ann", "a").await);
    assert_eq!(world.left("ann", "three").await, 3);
}

pub(crate) async fn refund_ends(world: World) {
    assert!(world.take("ann", "a", "three").await);
    world.clock.advance(MINUTE);
    assert!(world.take("ann", "b", "three").await);
    assert!(!world.refund("ann", "a").await, "its window is over");
    assert_eq!(world.left("ann", "three").await, 2);
}

/// Of several windows the longest counts: a repeat is not charged to a short
/// one that has forgotten it.
pub(crate) async fn remembered_as_long_as_counted(world: World) {
    let ask = world.ask("ann", "a", 1, &["three", "ten"]);
    assert!(world.check(&ask).await.verdict.is_allowed());
    world.clock.advance(2 * MINUTE);
    let again = world.check(&ask).await;
    assert!(again.verdict.is_allowed());
    assert_eq!(again.standings[0].remaining, 3);
    assert_eq!(again.standings[1].remaining, 9);
    world.clock.advance(13 * MINUTE - 1);
    assert_eq!(world.check(&ask).await.standings[0].remaining, 3);
    world.clock.advance(1);
    let anew = world.check(&ask).await;
    assert_eq!(anew.standings[0].remaining, 2, "charged anew");
    assert_eq!(anew.standings[1].remaining, 9);
}

/// Cost 0 tells where a subject stands, also one that has nothing left, and leaves
/// nothing behind.
pub(crate) async fn nothing_is_charged_for_nothing(world: World) {
    for (id, left) in [("a", 2), ("b", 1), ("c", 0)] {
        assert!(world.take("ann", id, "three").await);
        let looked = world.check(&world.ask("ann", "look", 0, &["three", "ten"])).await;
        assert_eq!(looked.verdict, Verdict::Allowed);
        assert_eq!(looked.standings[0].remaining, left);
    }
    assert!(!world.refund("ann", "look").await);
    assert!(!world.take("ann", "look", "three").await, "no charge of this id");
    assert!(world.take("ann", "look", "ten").await, "nor any content");
}

/// Whatever the algorithm: all is there again, of one subject and of the limits that
/// are named, and no refund of before gives more than all.
pub(crate) async fn reset(world: World) {
    const ALL: [(&str, u64); 5] =
        [("three", 3), ("coarse", 1_000), ("paced", 4), ("bucket", 10), ("fixed", 3)];
    for (limit, most) in ALL {
        for subject in ["ann", "bob"] {
            let all = world.ask(subject, limit, most, &[limit]);
            assert_eq!(world.check(&all).await.verdict, Verdict::Allowed, "{limit}");
        }
        assert!(world.take("ann", "beside", "ten").await);
        world.reset("ann", &[limit]).await;
        world.reset("carl", &[limit]).await;
        world.clock.advance(1);
        assert_eq!(world.left("ann", limit).await, most, "{limit}");
        assert_eq!(world.left("bob", limit).await, 0, "{limit}");
        assert_eq!(world.left("ann", "ten").await, 9, "{limit}");

        let again = world.check(&world.ask("ann", limit, most, &[limit])).await;
        assert!(again.verdict.is_allowed(), "{limit}: charged before");
        assert_eq!(again.standings[0].remaining, most, "{limit}: not charged again");
        assert!(world.take("ann", &format!("{limit}-new"), limit).await);
        assert!(!world.refund("ann", limit).await, "{limit}: of before");
        assert_eq!(world.left("ann", limit).await, most - 1, "{limit}");
        assert!(world.refund("ann", &format!("{limit}-new")).await, "{limit}");
    }
}
