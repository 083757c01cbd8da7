//! gcra, and the token bucket that it is.

use mingle_ratelimit::domain::NEVER;

use crate::world::{World, ms};

pub(crate) async fn bursts_then_even(world: World) {
    let take = async |id: &str| world.check(&world.ask("ann", id, 1, &["paced"])).await;
    for (id, remaining) in [("a", 3), ("b", 2), ("c", 1), ("d", 0)] {
        let standing = take(id).await.standings[0];
        assert_eq!((standing.allowed, standing.remaining), (true, remaining), "{id}");
    }
    let standing = take("e").await.standings[0];
    assert_eq!((standing.allowed, ms(standing.retry_us)), (false, 6_000));
    assert_eq!(ms(standing.reset_us), 24_000);
    world.clock.advance(5_999);
    assert!(!world.take("ann", "e", "paced").await);
    world.clock.advance(1);
    assert!(world.take("ann", "e", "paced").await);
    assert!(!world.take("ann", "f", "paced").await);
    let five = world.check(&world.ask("ann", "g", 5, &["paced"])).await;
    assert_eq!(five.standings[0].retry_us, NEVER, "more than ever at once");
    world.clock.advance(24_000);
    assert_eq!(world.left("ann", "paced").await, 4);
}

pub(crate) async fn even_by_default(world: World) {
    for second in 0..70 {
        assert!(world.take("ann", &format!("a{second}"), "even").await);
        assert!(!world.take("ann", &format!("b{second}"), "even").await);
        world.clock.advance(1_000);
    }
}

pub(crate) async fn refunds_what_is_not_due(world: World) {
    for id in ["a", "b", "c", "d"] {
        assert!(world.take("ann", id, "paced").await);
    }
    assert!(!world.take("ann", "e", "paced").await);
    assert!(world.refund("ann", "b").await);
    assert!(world.take("ann", "e", "paced").await);
    assert!(!world.take("ann", "f", "paced").await);
    // The first is due by now: it has been paid by waiting, and is not again.
    world.clock.advance(6_000);
    assert!(world.take("ann", "f", "paced").await);
    assert!(!world.refund("ann", "a").await);
    assert!(!world.take("ann", "g", "paced").await);
}

pub(crate) async fn a_bucket_is_full_at_first(world: World) {
    let ten = world.check(&world.ask("ann", "a", 10, &["bucket"])).await.standings[0];
    assert_eq!((ten.allowed, ten.remaining), (true, 0));
    let denied = world.check(&world.ask("ann", "b", 2, &["bucket"])).await.standings[0];
    assert_eq!((denied.allowed, ms(denied.retry_us)), (false, 12_000));
    world.clock.advance(12_000);
    assert!(world.check(&world.ask("ann", "b", 2, &["bucket"])).await.verdict.is_allowed());
    world.clock.advance(30_000);
    assert_eq!(world.left("ann", "bucket").await, 5);
    world.clock.advance(60_000);
    assert_eq!(world.left("ann", "bucket").await, 10);
}

/// It stands still until it is there again: nothing is admitted twice, and nobody is
/// denied what was left.
pub(crate) async fn clock_goes_back(world: World) {
    assert!(world.take("ann", "a", "paced").await);
    world.clock.advance(-30_000);
    assert_eq!(world.left("ann", "paced").await, 3);
    for id in ["b", "c", "d"] {
        assert!(world.take("ann", id, "paced").await, "{id}");
    }
    let standing = world.check(&world.ask("ann", "e", 1, &["paced"])).await.standings[0];
    assert_eq!((standing.allowed, ms(standing.retry_us)), (false, 36_000));
    assert_eq!(ms(standing.reset_us), 54_000);
    world.clock.advance(35_999);
    assert!(!world.take("ann", "e", "paced").await);
    world.clock.advance(1);
    assert!(world.take("ann", "e", "paced").await);
}
