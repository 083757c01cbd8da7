//! Several limits, several subjects.

use mingle_ratelimit::domain::Verdict;

use crate::world::World;

pub(crate) async fn all_or_none(world: World) {
    let both = ["three", "ten"];
    for id in ["a", "b", "c"] {
        assert!(world.check(&world.ask("ann", id, 1, &both)).await.verdict.is_allowed());
    }
    for id in ["d", "e", "f"] {
        let answer = world.check(&world.ask("ann", id, 1, &both)).await;
        assert_eq!(answer.verdict, Verdict::Denied);
        let [three, ten] = answer.standings[..] else { panic!("{answer:?}") };
        assert!(!three.allowed && ten.allowed);
        assert_eq!(ten.remaining, 7);
    }
    // The other order, and the one that denies last.
    let answer = world.check(&world.ask("ann", "g", 1, &["paced", "ten", "three"])).await;
    assert_eq!(answer.verdict, Verdict::Denied);
    assert_eq!(world.left("ann", "paced").await, 4);
    assert_eq!(world.left("ann", "ten").await, 7);
}

pub(crate) async fn shadow(world: World) {
    let both = ["watched", "three"];
    for (id, shown) in [("a", true), ("b", false), ("c", false)] {
        let answer = world.check(&world.ask("ann", id, 1, &both)).await;
        assert!(answer.verdict.is_allowed(), "{id}");
        assert_eq!(answer.standings[0].allowed, shown, "{id}");
        assert_eq!(answer.standings[0].retry_us > 0, !shown, "{id}");
    }
    for id in ["a", "b"] {
        let again = world.check(&world.ask("ann", id, 1, &both)).await;
        assert!(again.verdict.is_allowed(), "{id}: charged before");
        let other = world.ask("ann", id, 1, &["three"]);
        assert_eq!(world.check(&other).await.verdict, Verdict::Reused, "{id}: it was of both");
    }
    assert_eq!(world.left("ann", "three").await, 0);
    let denied = world.check(&world.ask("bob", "a", 4, &both)).await;
    assert_eq!(denied.verdict, Verdict::Denied);
    assert_eq!(world.left("bob", "watched").await, 1, "a denied call charges no shadow");
}

/// Whatever a subject is made of, it is one and no other.
pub(crate) async fn subjects_apart(world: World) {
    let long = "x".repeat(256);
    let longer = format!("{}y", &long[1..]);
    let subjects = ["ann", "{ann}", "}{", "ann}:1:l:three", "a b", "é", "*", &long, &longer];
    for subject in subjects {
        for id in ["a", "{b}", "c|1|d"] {
            assert!(world.take(subject, id, "three").await, "{subject} {id}");
        }
        assert!(!world.take(subject, "d", "three").await, "{subject}");
        assert_eq!(world.left(subject, "ten").await, 10, "{subject}");
    }
    assert!(world.refund("{ann}", "c|1|d").await);
    assert_eq!(world.left("{ann}", "three").await, 1);
    assert_eq!(world.left("ann", "three").await, 0);
}

/// Asks of one call are apart from each other, answered in their order.
pub(crate) async fn several_asks(world: World) {
    let asks: Vec<_> = (0..40)
        .map(|n| {
            world.ask(["ann", "bob"][n % 2], &n.to_string(), 1, &["ten", "three"][n % 2..][..1])
        })
        .collect();
    let answers = world.store.check(&asks).await;
    let mut allowed = [0, 0];
    for (n, answer) in answers.into_iter().enumerate() {
        allowed[n % 2] += u32::from(answer.unwrap().verdict.is_allowed());
    }
    assert_eq!(allowed, [10, 3]);
}
