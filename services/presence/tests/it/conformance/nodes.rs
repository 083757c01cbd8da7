//! Nodes, their leases and their starts.

use mingle_presence::{
    domain::Status,
    store::{Connected, Registered, Stored, Totals},
};

use crate::harness::world::{LIMITS, START, World, accepted, claim, lost, node};

/// An older start is refused while the newer one is there.
pub(crate) async fn register(world: World) {
    world.register("a", 5).await;
    world.register("a", 5).await;
    let older = world.store.register_node(node("a", 4)).await.unwrap();
    assert_eq!(older, Registered::Superseded(5));
    world.register("a", 6).await;
    world.clock.advance(13_000);
    // Lease and grace are over: nothing of it is left to protect.
    world.register("a", 4).await;
}

/// A newer start ends the sessions of the older one; their grace runs.
pub(crate) async fn newer_start(world: World) {
    world.register("a", 1).await;
    for user in ["ann", "bob"] {
        world.connect("a", user, "s", 1).await;
    }
    world.pass_renewing("a", 1, 60_000).await;
    world.register("a", 2).await;
    assert_eq!(world.get("ann").await.sessions, 0);
    assert_eq!(world.status("ann").await, Some(Status::Online));
    assert!(!world.store.renew_node("a", 1).await.unwrap());
    world.pass_renewing("a", 2, 5_000).await;
    assert_eq!(world.connect("a", "bob", "s", 2).await, held_by_the_older_start());
    // A third start does not prolong the grace.
    world.register("a", 3).await;
    world.pass_renewing("a", 3, 4_999).await;
    assert_eq!(world.status("ann").await, Some(Status::Online));
    world.clock.advance(1);
    let ann = world.get("ann").await;
    assert_eq!((ann.status, ann.last_seen), (None, Some(START + 60_000)));
    assert_eq!(world.sweep().await, ["ann"]);
    assert_eq!(world.status("bob").await, Some(Status::Online));
}

/// A newer start of a process that lived on: who is registered again within
/// the grace is not noticed, and the others end with the older start.
pub(crate) async fn newer_start_of_the_living(world: World) {
    world.register("a", 1).await;
    for user in ["ann", "bob"] {
        world.connect("a", user, "s", 1).await;
    }
    world.pass_renewing("a", 1, 60_000).await;
    world.register("a", 2).await;
    world.pass_renewing("a", 2, 9_000).await;
    let held = vec![claim("ann", "s", 1, "a/ann/s/1")];
    let stored = world.store.register_sessions("a", held).await.unwrap();
    let unnoticed = Stored::Done { superseded: vec![], lost: vec![], changed: vec![] };
    assert_eq!(stored, unnoticed);
    world.pass_renewing("a", 2, 1_000).await;
    assert_eq!(world.sweep().await, ["bob"]);
    world.pass_renewing("a", 2, 60_000).await;
    assert_eq!(world.sweep().await, Vec::<String>::new());
    assert_eq!(
        (world.status("ann").await, world.status("bob").await),
        (Some(Status::Online), None)
    );
    assert_eq!(world.store.count().await.unwrap(), Totals { users: 1, sessions: 1 });
}

/// Told to a process that is gone: harmless, and right if it lives after all.
fn held_by_the_older_start() -> Connected {
    Connected::Accepted { lost: Some(lost("a", "s", 1, "a/bob/s/1")), changed: false }
}

/// Only the present start of a known node renews.
pub(crate) async fn renewal(world: World) {
    assert!(!world.store.renew_node("a", 1).await.unwrap());
    world.register("a", 2).await;
    for (generation, renewed) in [(1, false), (2, true), (2, true), (3, false)] {
        assert_eq!(world.store.renew_node("a", generation).await.unwrap(), renewed);
    }
}

/// Nodes whose lease holds, by id, as they last described themselves.
pub(crate) async fn list(world: World) {
    world.register("b", 1).await;
    world.clock.advance(1_000);
    world.register("a", 1).await;
    assert_eq!(world.store.list_nodes().await.unwrap(), [node("a", 1), node("b", 1)]);
    let mut moved = node("a", 1);
    moved.address = "127.0.0.1:2".to_owned();
    world.store.register_node(moved.clone()).await.unwrap();
    world.clock.advance(2_000);
    assert_eq!(world.store.list_nodes().await.unwrap(), [moved]);
    world.clock.advance(1_000);
    assert!(world.store.list_nodes().await.unwrap().is_empty());
}

/// What a node holds, after presence lost or missed it.
pub(crate) async fn register_sessions(world: World) {
    world.register("a", 1).await;
    world.register("b", 1).await;
    world.connect("a", "ann", "s", 1).await;
    world.connect("a", "bob", "s", 1).await;
    world.connect("b", "cat", "s", 7).await;
    world.clock.advance(13_000);
    assert_eq!(world.sweep().await, ["ann", "bob", "cat"]);
    assert!(!world.store.renew_node("a", 1).await.unwrap());

    world.register("a", 1).await;
    world.register("b", 1).await;
    world.connect("b", "bob", "s", 2).await;
    world.connect("b", "dan", "s", 3).await;
    let held = vec![
        claim("ann", "s", 1, "a/ann/s/1"),
        claim("bob", "s", 1, "a/bob/s/1"),
        claim("dan", "s", 4, "a/dan/s/4"),
    ];
    let stored = world.store.register_sessions("a", held.clone()).await.unwrap();
    let expected = Stored::Done {
        superseded: vec!["s".to_owned()],
        lost: vec![lost("b", "s", 3, "b/dan/s/3")],
        changed: vec!["ann".to_owned()],
    };
    assert_eq!(stored, expected);
    let again = world.store.register_sessions("a", held).await.unwrap();
    let nothing_new =
        Stored::Done { superseded: vec!["s".to_owned()], lost: vec![], changed: vec![] };
    assert_eq!(again, nothing_new);
    assert_eq!(world.store.count().await.unwrap(), Totals { users: 3, sessions: 3 });
    // The limit is for those who come, not for those who are there.
    let many = (0..30).map(|at| claim("eve", &format!("s{at}"), 1, "x")).collect();
    world.store.register_sessions("a", many).await.unwrap();
    assert_eq!(world.get("eve").await.sessions, 30);
}

/// Sessions need a node; one within its grace will do.
pub(crate) async fn unknown_node(world: World) {
    assert_eq!(world.connect("a", "ann", "s", 1).await, Connected::UnknownNode);
    let none = world.store.register_sessions("a", vec![]).await.unwrap();
    assert_eq!(none, Stored::UnknownNode);
    world.register("a", 1).await;
    world.clock.advance(12_999);
    assert_eq!(world.connect("a", "ann", "s", 1).await, accepted(true));
    world.clock.advance(1);
    assert_eq!(world.connect("a", "ann", "s", 2).await, Connected::UnknownNode);
    assert_eq!(world.status("ann").await, None);
    assert_eq!(world.sweep().await, ["ann"]);
}

/// A full registry refuses new nodes until one is gone.
pub(crate) async fn bounded(world: World) {
    for at in 0..LIMITS.max_nodes {
        world.register(&format!("n{at}"), 1).await;
    }
    let refused = world.store.register_node(node("more", 1)).await.unwrap();
    assert_eq!(refused, Registered::Full);
    world.register("n0", 2).await;
    world.clock.advance(13_000);
    world.register("more", 1).await;
}
