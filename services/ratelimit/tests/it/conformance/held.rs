//! What is held at once.

use mingle_ratelimit::domain::Verdict;
use mingle_store::clock::Clock as _;

use crate::world::{MINUTE, World, ms};

pub(crate) async fn as_many_at_once(world: World) {
    for id in ["a", "b", "c"] {
        assert!(world.take("ann", id, "jobs").await);
        world.clock.advance(1_000);
    }
    let denied = world.check(&world.ask("ann", "d", 1, &["jobs"])).await;
    assert_eq!(denied.verdict, Verdict::Denied);
    assert_eq!(ms(denied.standings[0].retry_us), 57_000, "when the first ends");
    assert!(!world.refund("ann", "d").await, "nothing was held");
    assert!(world.refund("ann", "b").await);
    assert!(!world.refund("ann", "b").await, "once");
    assert!(world.take("ann", "d", "jobs").await);
    assert!(!world.take("ann", "e", "jobs").await);
    assert!(world.take("bob", "a", "jobs").await, "another subject");
    for id in ["a", "c", "d"] {
        assert!(world.refund("ann", id).await, "{id}");
    }
    assert_eq!(world.left("ann", "jobs").await, 3);
}

pub(crate) async fn ends_unless_renewed(world: World) {
    for id in ["a", "b"] {
        assert!(world.take("ann", id, "jobs").await);
    }
    world.clock.advance(40_000);
    for _ in 0..3 {
        assert!(world.take("ann", "a", "jobs").await, "renewed");
        assert_eq!(world.left("ann", "jobs").await, 1, "held once");
    }
    world.clock.advance(19_999);
    assert_eq!(world.left("ann", "jobs").await, 1);
    world.clock.advance(1);
    assert_eq!(world.left("ann", "jobs").await, 2, "the other has ended");
    assert!(!world.refund("ann", "b").await);
    world.clock.advance(39_999);
    assert_eq!(world.left("ann", "jobs").await, 2);
    world.clock.advance(1);
    assert_eq!(world.left("ann", "jobs").await, 3);
    // However long it is held.
    for _ in 0..40 {
        assert!(world.take("ann", "c", "jobs").await);
        world.clock.advance(MINUTE - 1);
    }
    assert_eq!(world.left("ann", "jobs").await, 2);
    assert!(world.refund("ann", "c").await);
}

pub(crate) async fn one_that_ended_is_judged(world: World) {
    assert!(world.take("ann", "a", "jobs").await);
    world.clock.advance(MINUTE);
    for id in ["b", "c", "d"] {
        assert!(world.take("ann", id, "jobs").await);
    }
    assert!(!world.take("ann", "a", "jobs").await, "its place is taken");
    assert!(world.take("ann", "b", "jobs").await, "one that is held can be renewed");
    assert!(world.refund("ann", "c").await);
    assert!(world.take("ann", "a", "jobs").await);
    assert!(!world.take("ann", "c", "jobs").await);
}

/// A release that comes late gives nothing back of a lease that was renewed since.
pub(crate) async fn late_release(world: World) {
    for id in ["a", "b"] {
        assert!(world.take("ann", id, "jobs").await);
    }
    assert!(world.take("ann", "a", "jobs").await, "renewed");
    assert!(!world.refund_unless_repeated("ann", "a").await);
    assert!(world.refund_unless_repeated("ann", "b").await);
    assert_eq!(world.left("ann", "jobs").await, 2);
    assert!(world.refund("ann", "a").await, "whatever else is there");
    assert_eq!(world.left("ann", "jobs").await, 3);
}

/// Of several limits all are held or none, as long as the shortest.
pub(crate) async fn all_or_none(world: World) {
    let both = async |id: &str, cost| {
        world.check(&world.ask("ann", id, cost, &["fleet", "jobs"])).await.verdict.is_allowed()
    };
    assert!(both("a", 2).await);
    assert!(world.take("ann", "b", "fleet").await);
    assert!(!both("c", 2).await, "one place is left of each");
    assert_eq!((world.left("ann", "fleet").await, world.left("ann", "jobs").await), (1, 1));
    world.clock.advance(MINUTE);
    assert_eq!((world.left("ann", "fleet").await, world.left("ann", "jobs").await), (1, 3));
    let begin = world.clock.now_ms();
    assert!(both("a", 2).await, "what is held by one, and taken anew of the other");
    assert_eq!((world.left("ann", "fleet").await, world.left("ann", "jobs").await), (1, 1));
    assert!(world.refund("ann", "a").await);
    assert_eq!((world.left("ann", "fleet").await, world.left("ann", "jobs").await), (3, 3));
    assert_eq!(world.clock.now_ms(), begin);
}

/// Many at once: exactly the quota is held.
pub(crate) async fn crowd(world: World) {
    let asks: Vec<_> = (0..100).map(|n| world.ask("ann", &n.to_string(), 1, &["jobs"])).collect();
    let answers = futures::future::join_all(asks.iter().map(|ask| world.check(ask))).await;
    let held: Vec<_> =
        answers.iter().zip(&asks).filter(|(it, _)| it.verdict.is_allowed()).collect();
    assert_eq!(held.len(), 3);
    for (_, ask) in held {
        assert!(world.refund("ann", &ask.charge_id).await);
    }
    assert_eq!(world.left("ann", "jobs").await, 3);
}
