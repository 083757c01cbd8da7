//! The fixed window.

use mingle_ratelimit::domain::NEVER;
use mingle_store::clock::Clock as _;

use crate::world::{MINUTE, World, ms};

/// Goes to so many milliseconds before the next edge of a minute.
fn before_the_edge(world: &World, left_ms: i64) {
    let into = (world.clock.now_ms() + left_ms) % MINUTE;
    world.clock.advance((MINUTE - into) % MINUTE);
}

/// All of it is used at one side of an edge and again at the other.
pub(crate) async fn begins_anew_at_its_edge(world: World) {
    before_the_edge(&world, 50_000);
    let check = async |id: &str, cost| {
        let answer = world.check(&world.ask("ann", id, cost, &["fixed"])).await;
        let it = answer.standings[0];
        (it.allowed, it.remaining, ms(it.retry_us), ms(it.reset_us))
    };
    assert_eq!(check("a", 2).await, (true, 1, 0, 50_000));
    assert_eq!(check("b", 2).await, (false, 1, 50_000, 50_000));
    assert_eq!(check("c", 1).await, (true, 0, 0, 50_000));
    world.clock.advance(49_999);
    assert_eq!(check("d", 1).await, (false, 0, 1, 1));
    world.clock.advance(1);
    assert_eq!(check("d", 3).await, (true, 0, 0, 60_000));
    let never = world.peek("ann", 4, "fixed").await.standings[0];
    assert_eq!((never.allowed, never.retry_us), (false, NEVER));
    world.clock.advance(60_000);
    assert_eq!(world.peek("ann", 3, "fixed").await.standings[0].reset_us, 0);
}

/// What is given back is there again, and only in the window that it was taken from.
pub(crate) async fn refunds_within_its_window(world: World) {
    before_the_edge(&world, 50_000);
    for id in ["a", "b", "c"] {
        assert!(world.take("ann", id, "fixed").await);
    }
    assert!(world.refund("ann", "a").await);
    assert!(!world.refund("ann", "a").await);
    assert_eq!(world.left("ann", "fixed").await, 1);
    world.clock.advance(50_000);
    assert!(world.take("ann", "d", "fixed").await);
    assert!(!world.refund("ann", "b").await, "of a window that is over");
    assert_eq!(world.left("ann", "fixed").await, 2);
}
