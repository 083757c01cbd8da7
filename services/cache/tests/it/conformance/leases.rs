//! Who loads.

use std::sync::Arc;

use futures::future::join_all;
use mingle_cache::domain::{Ask, Filled, Lease, Load, Wanted};

use crate::world::{SECOND, World};

pub(crate) async fn one_loads(world: World) {
    assert_eq!(world.read("a").await.lease, Lease::None, "who does not ask is given none");
    let (found, given) = world.want("a").await;
    assert!(found.seen.is_none());
    assert_eq!(given.unwrap().lasts_us, 5 * SECOND);
    world.pass(2);
    let (other, none) = world.want("a").await;
    assert_eq!((other.lease, none), (Lease::Held { left_us: 3 * SECOND }, None));
    assert_eq!(world.fill("a", given.unwrap(), "one").await, Filled::Stored);
    let (found, none) = world.want("a").await;
    assert_eq!((found.lease, none), (Lease::None, None), "it is there and fresh");
    let entry = found.seen.unwrap().entry;
    assert_eq!((&*entry.value.data, entry.load_us), (&b"one"[..], 2 * SECOND));
}

pub(crate) async fn the_lease_of_a_dead_loader_passes_on(world: World) {
    let dead = world.want("a").await.1.unwrap();
    world.pass(5);
    let next = world.want("a").await.1.unwrap();
    assert_eq!(world.fill("a", dead, "late").await, Filled::Rejected);
    assert_eq!(world.value("a").await, None);
    assert_eq!(world.fill("a", next, "one").await, Filled::Stored);
    assert_eq!(world.fill("a", dead, "late").await, Filled::Rejected);
    assert_eq!(world.value("a").await.unwrap().0, "one");
}

pub(crate) async fn who_is_stale_is_served(world: World) {
    world.set("a", "one").await;
    world.pass(10);
    let (found, given) = world.want("a").await;
    assert!(!found.seen.unwrap().is_fresh());
    let (found, none) = world.want("a").await;
    assert_eq!((found.lease, none), (Lease::Held { left_us: 5 * SECOND }, None));
    assert!(found.seen.is_some(), "the others are served");
    assert_eq!(world.fill("a", given.unwrap(), "two").await, Filled::Stored);
    assert_eq!(world.value("a").await, Some(("two".to_owned(), true)));
}

pub(crate) async fn voided_by_set_and_delete(world: World) {
    let given = world.want("a").await.1.unwrap();
    world.set("a", "set").await;
    assert_eq!(world.fill("a", given, "old").await, Filled::Rejected);
    assert_eq!(world.value("a").await.unwrap().0, "set");
    world.delete("a").await;
    let given = world.want("a").await.1.unwrap();
    world.delete("a").await;
    assert_eq!(world.fill("a", given, "old").await, Filled::Rejected);
    assert_eq!(world.value("a").await, None);
    assert!(world.want("a").await.1.is_some(), "nobody loads any more");
}

pub(crate) async fn filled_twice(world: World) {
    let given = world.want("a").await.1.unwrap();
    for _ in 0..2 {
        assert_eq!(world.fill("a", given, "one").await, Filled::Stored);
    }
    world.set("a", "two").await;
    assert_eq!(world.fill("a", given, "one").await, Filled::Rejected, "another one is there");
    assert_eq!(world.value("a").await.unwrap().0, "two");
}

pub(crate) async fn due_early(world: World) {
    let given = world.want("a").await.1.unwrap();
    world.pass(1);
    assert_eq!(world.fill("a", given, "one").await, Filled::Stored);
    let lucky = async |luck| {
        let wanted = Some(Wanted { token: rand::random(), captured: world.capture(&[]).await });
        world.ask(Ask { key: world.key("a"), wanted, void: None, luck }).await
    };
    // It took a second, and ends in ten.
    assert_eq!(lucky(9.9).await.lease, Lease::None);
    let found = lucky(10.0).await;
    assert_eq!(found.lease, Lease::Given { lasts_us: 5 * SECOND });
    assert!(found.seen.unwrap().is_fresh());
    assert_eq!(lucky(9.9).await.lease, Lease::None, "the others are served");
    assert_eq!(lucky(10.0).await.lease, Lease::Held { left_us: 5 * SECOND });
}

pub(crate) async fn a_failed_load_serves_on(world: World) {
    let failed = || Load::Failed { throttle_us: 3 * SECOND };
    let given = world.want("a").await.1.unwrap();
    assert_eq!(world.end("a", given, failed()).await, Filled::Ended);
    assert!(world.want("a").await.1.is_some(), "the next one tries");
    world.delete("a").await;
    world.set("a", "one").await;
    world.pass(10);
    let given = world.want("a").await.1.unwrap();
    assert_eq!(world.end("a", given, failed()).await, Filled::Rearmed);
    assert_eq!(world.value("a").await, Some(("one".to_owned(), true)));
    assert_eq!(world.end("a", given, failed()).await, Filled::Rejected, "the lease has ended");
    world.pass(3);
    assert_eq!(world.value("a").await, Some(("one".to_owned(), false)));
    world.pass(46);
    let given = world.want("a").await.1.unwrap();
    assert_eq!(world.end("a", given, failed()).await, Filled::Rearmed);
    world.pass(1);
    assert_eq!(world.value("a").await, None, "not beyond its hard end");
}

pub(crate) async fn absence_that_is_not_kept(world: World) {
    world.set("a", "one").await;
    world.pass(10);
    let given = world.want("a").await.1.unwrap();
    assert_eq!(world.end("a", given, Load::Absent).await, Filled::Ended);
    assert_eq!(world.value("a").await, None, "the source has no such thing");
    assert!(world.want("a").await.1.is_some());
}

pub(crate) async fn crowd(world: World) {
    let world = Arc::new(world);
    for round in 0..20 {
        let name = round.to_string();
        let asking = (0..64).map(|_| {
            let (world, name) = (world.clone(), name.clone());
            tokio::spawn(async move { world.want(&name).await.1 })
        });
        let given: Vec<_> = join_all(asking).await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(given.len(), 1);
        let filling = (0..8).map(|_| {
            let (world, name, given) = (world.clone(), name.clone(), given[0]);
            tokio::spawn(async move { world.fill(&name, given, "one").await })
        });
        for filled in join_all(filling).await {
            assert_eq!(filled.unwrap(), Filled::Stored);
        }
    }
}
