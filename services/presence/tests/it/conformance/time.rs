//! Grace, leases, and what time alone changes.

use mingle_presence::{
    domain::{Ended, Status},
    store::Totals,
};

use crate::harness::world::{START, World, accepted, any};

/// A return within the grace makes no change, whenever anyone looks.
pub(crate) async fn return_in_grace(world: World) {
    world.register("a", 1).await;
    world.connect("a", "ann", "s", 1).await;
    assert!(!world.store.disconnect("ann", "s", any(1)).await.unwrap());
    world.pass_renewing("a", 1, 9_999).await;
    assert_eq!(world.sweep().await, Vec::<String>::new());
    assert_eq!(world.connect("a", "ann", "s", 2).await, accepted(false));
    world.pass_renewing("a", 1, 30_000).await;
    assert_eq!(world.sweep().await, Vec::<String>::new());
    assert_eq!(world.status("ann").await, Some(Status::Online));
}

/// After the grace one change, and last_seen is the time of the close.
pub(crate) async fn grace_ends_once(world: World) {
    world.register("a", 1).await;
    world.connect("a", "ann", "s", 1).await;
    world.pass_renewing("a", 1, 5_000).await;
    world.store.disconnect("ann", "s", any(1)).await.unwrap();
    world.pass_renewing("a", 1, 9_999).await;
    assert_eq!(world.status("ann").await, Some(Status::Online));
    world.clock.advance(1);
    // Reads are right before anyone swept.
    let ann = world.get("ann").await;
    assert_eq!((ann.status, ann.last_seen, ann.sessions), (None, Some(START + 5_000), 0));
    assert_eq!(world.sweep().await, ["ann"]);
    assert_eq!(world.sweep().await, Vec::<String>::new());
    assert_eq!(world.get("ann").await, ann);
    // Gone: a connect starts anew, whatever its generation.
    assert_eq!(world.connect("a", "ann", "s", 1).await, accepted(true));
}

/// The users of a dead node are offline 13 s after its last renewal.
pub(crate) async fn dead_node(world: World) {
    world.register("a", 1).await;
    world.register("b", 1).await;
    for user in ["ann", "bob"] {
        world.connect("a", user, "s", 1).await;
    }
    world.connect("b", "bob", "t", 1).await;
    world.clock.advance(2_000);
    assert!(world.store.renew_node("a", 1).await.unwrap());
    world.clock.advance(2_999);
    assert_eq!(world.get("ann").await.sessions, 1);
    assert!(world.store.renew_node("b", 1).await.unwrap());
    world.clock.advance(1);
    // Void at once, shown for the grace.
    let ann = world.get("ann").await;
    assert_eq!((ann.status, ann.sessions), (Some(Status::Online), 0));
    assert_eq!(world.store.count().await.unwrap().sessions, 1);
    world.pass_renewing("b", 1, 9_999).await;
    assert_eq!(world.status("ann").await, Some(Status::Online));
    assert_eq!(world.sweep().await, Vec::<String>::new());
    world.clock.advance(1);
    let ann = world.get("ann").await;
    assert_eq!((ann.status, ann.last_seen), (None, Some(START + 2_000)));
    assert_eq!(world.status("bob").await, Some(Status::Online));
    assert_eq!(world.sweep().await, ["ann"]);
    assert_eq!(world.sweep().await, Vec::<String>::new());
}

/// A renewal after the lease and within the grace: nobody noticed anything.
pub(crate) async fn late_renewal(world: World) {
    world.register("a", 1).await;
    world.connect("a", "ann", "s", 1).await;
    world.clock.advance(12_999);
    assert_eq!(world.sweep().await, Vec::<String>::new());
    assert_eq!(world.get("ann").await.sessions, 0);
    assert!(world.store.renew_node("a", 1).await.unwrap());
    assert_eq!(world.get("ann").await.sessions, 1);
    world.clock.advance(12_999);
    assert_eq!(world.sweep().await, Vec::<String>::new());
    world.clock.advance(1);
    assert!(!world.store.renew_node("a", 1).await.unwrap());
    assert_eq!(world.sweep().await, ["ann"]);
}

/// Every user of a dead node is found, by sweeps of bounded size.
pub(crate) async fn a_lapse_found_by_walking(world: World) {
    world.register("a", 1).await;
    let mut users: Vec<_> = (0..200).map(|at| format!("u{at}")).collect();
    for user in &users {
        world.connect("a", user, "s", 1).await;
    }
    world.clock.advance(13_000);
    let mut sweeps = 0;
    let mut changed = Vec::new();
    while changed.len() < users.len() {
        let found = world.store.sweep().await.unwrap();
        assert!(found.len() <= 16, "a sweep is bounded: {}", found.len());
        changed.extend(found);
        sweeps += 1;
        assert!(sweeps < 1_000, "found {} of {}", changed.len(), users.len());
    }
    changed.sort_unstable();
    users.sort_unstable();
    assert_eq!(changed, users);
    assert_eq!(world.sweep().await, Vec::<String>::new());
    assert_eq!(world.store.count().await.unwrap(), Totals::default());
}

/// A close of an older generation, or of another socket of the same one, does
/// not touch the present holder.
pub(crate) async fn stale_disconnect(world: World) {
    world.register("a", 1).await;
    world.connect("a", "ann", "s", 1).await;
    world.connect("a", "ann", "s", 2).await;
    world.store.disconnect("ann", "s", any(1)).await.unwrap();
    world.store.disconnect("ann", "s", any(3)).await.unwrap();
    let of = |connection_id| Ended { generation: 2, connection_id: Some(connection_id) };
    world.store.disconnect("ann", "s", of("claimed it too")).await.unwrap();
    world.pass_renewing("a", 1, 20_000).await;
    assert_eq!(world.get("ann").await.sessions, 1);
    assert_eq!(world.sweep().await, Vec::<String>::new());
    world.store.disconnect("ann", "s", of("a/ann/s/2")).await.unwrap();
    assert_eq!(world.get("ann").await.sessions, 0);
}

/// Counts follow what happens.
pub(crate) async fn count_follows(world: World) {
    let count = async || world.store.count().await.unwrap();
    world.register("a", 1).await;
    world.connect("a", "ann", "s", 1).await;
    world.connect("a", "ann", "t", 1).await;
    world.connect("a", "bob", "s", 1).await;
    assert_eq!(count().await, Totals { users: 2, sessions: 3 });
    world.connect("a", "bob", "s", 2).await;
    assert_eq!(count().await, Totals { users: 2, sessions: 3 });
    world.store.disconnect("bob", "s", any(2)).await.unwrap();
    assert_eq!(count().await, Totals { users: 2, sessions: 2 });
    world.pass_renewing("a", 1, 10_000).await;
    world.sweep().await;
    assert_eq!(count().await, Totals { users: 1, sessions: 2 });
    world.register("a", 2).await;
    assert_eq!(count().await, Totals { users: 1, sessions: 0 });
}
