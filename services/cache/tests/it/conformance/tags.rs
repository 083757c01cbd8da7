//! Versions of tags, and what they void.

use mingle_cache::domain::{Ask, Filled, Lease, Wanted};

use crate::world::World;

pub(crate) async fn versions_stay_until_they_are_renewed(world: World) {
    let first = world.capture(&["one", "two"]).await;
    assert_eq!(world.capture(&["one", "two"]).await, first);
    let versions: std::collections::HashSet<_> =
        first.iter().map(|(_, version)| *version).collect();
    assert_eq!(versions.len(), 3, "each has its own");
    world.store.renew(&[world.mark("one"), world.mark("new")]).await.unwrap();
    let then = world.capture(&["one", "two"]).await;
    assert_eq!(
        (then[0] == first[0], then[1] == first[1], then[2] == first[2]),
        (true, false, true)
    );
    assert_eq!(world.capture(&["one"]).await[1], then[1]);
}

pub(crate) async fn captured_by_the_lease(world: World) {
    let given = world.want_of("a", &["one", "two"]).await.1.unwrap();
    assert_eq!(world.fill_of("a", given, "x", &["one"]).await, Filled::Stored, "fewer will do");
    world.delete("a").await;
    let given = world.want_of("a", &["one"]).await.1.unwrap();
    assert_eq!(world.fill_of("a", given, "x", &["one", "two"]).await, Filled::Rejected);
    assert!(world.read("a").await.seen.is_none());
    let given = world.want_of("a", &["one"]).await.1.unwrap();
    world.store.renew(&[world.mark("one")]).await.unwrap();
    assert_eq!(world.fill_of("a", given, "x", &["one"]).await, Filled::Rejected);
    let given = world.want_of("a", &["one"]).await.1.unwrap();
    world.store.renew(&[world.mark("")]).await.unwrap();
    assert_eq!(world.fill_of("a", given, "x", &["one"]).await, Filled::Rejected);
    assert!(world.want("a").await.1.is_some(), "a rejected load ends its lease");
}

pub(crate) async fn what_is_void_is_loaded(world: World) {
    let version = world.set("a", "one").await;
    let ask = async |void| {
        let wanted = Some(Wanted { token: rand::random(), captured: world.capture(&[]).await });
        world.ask(Ask { key: world.key("a"), wanted, void, luck: 0.0 }).await
    };
    let other = ask(Some(version ^ 1)).await;
    assert!(other.seen.is_some() && other.lease == Lease::None);
    let found = ask(Some(version)).await;
    assert!(found.seen.is_none() && matches!(found.lease, Lease::Given { .. }));
}
