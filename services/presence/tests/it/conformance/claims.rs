//! Who holds a session.

use std::{collections::BTreeSet, sync::Arc};

use mingle_presence::{
    domain::Status,
    store::{Connected, Stored},
};
use tokio::sync::Barrier;

use crate::harness::world::{World, accepted, any, claim, lost};

/// Generation, connection, and what comes of it, one after the other.
pub(crate) async fn table(world: World) {
    world.register("a", 1).await;
    let taken = |generation, connection| Connected::Accepted {
        lost: Some(lost("a", "s", generation, connection)),
        changed: false,
    };
    let cases = [
        (2, "x", accepted(true)),
        (2, "x", accepted(false)),
        (2, "w", Connected::Held(2)),
        (1, "x", Connected::Held(2)),
        (1, "y", Connected::Held(2)),
        // A later socket of the same generation.
        (2, "y", taken(2, "x")),
        (2, "x", Connected::Held(2)),
        (2, "y", accepted(false)),
        (3, "y", accepted(false)),
        (2, "x", Connected::Held(3)),
        (9, "z", taken(3, "y")),
        (9, "z", accepted(false)),
        (u64::MAX, "x", taken(9, "z")),
    ];
    for (generation, connection, expected) in cases {
        let offer = claim("ann", "s", generation, connection);
        let answer = world.store.connect("a", offer).await.unwrap();
        assert_eq!(answer, expected, "generation {generation} of {connection}");
        assert_eq!(world.get("ann").await.sessions, 1);
    }
}

/// Each call again finds what the first did.
pub(crate) async fn same_again(world: World) {
    world.register("a", 1).await;
    world.register("a", 1).await;
    assert_eq!(world.connect("a", "ann", "s", 1).await, accepted(true));
    assert_eq!(world.connect("a", "ann", "s", 1).await, accepted(false));
    for _ in 0..2 {
        assert!(!world.store.disconnect("ann", "s", any(1)).await.unwrap());
        assert!(!world.store.disconnect("nobody", "s", any(1)).await.unwrap());
        assert_eq!(world.get("ann").await.sessions, 0);
        assert_eq!(world.status("ann").await, Some(Status::Online));
    }
}

/// Many sockets resume one session at once: the last of them holds it, in whatever
/// order their claims are done, and each that lost it is named once.
pub(crate) async fn resume_race(world: World) {
    const SOCKETS: usize = 8;
    world.register("a", 1).await;
    world.register("b", 1).await;
    assert_eq!(world.connect("a", "ann", "s", 1).await, accepted(true));
    let start = Arc::new(Barrier::new(SOCKETS));
    let sockets = (0..SOCKETS).map(|at| {
        let (store, start) = (world.store.clone(), start.clone());
        tokio::spawn(async move {
            let offer = claim("ann", "s", 2, &format!("socket {at}"));
            start.wait().await;
            store.connect(if at % 2 == 0 { "a" } else { "b" }, offer).await.unwrap()
        })
    });
    let (mut losers, mut held) = (BTreeSet::new(), 0);
    for socket in sockets.collect::<Vec<_>>() {
        match socket.await.unwrap() {
            Connected::Held(generation) => {
                assert_eq!(generation, 2);
                held += 1;
            }
            Connected::Accepted { lost: Some(loser), changed: false } => {
                assert!(losers.insert(loser.connection_id), "named twice");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(losers.contains("a/ann/s/1"), "{losers:?}");
    assert_eq!((losers.len() + held, world.get("ann").await.sessions), (SOCKETS, 1));
    let last = claim("ann", "s", 2, &format!("socket {}", SOCKETS - 1));
    assert_eq!(world.store.connect("b", last).await.unwrap(), accepted(false), "the last holds it");
}

/// A new socket on the same node supersedes the older one too.
pub(crate) async fn same_node_supersedes(world: World) {
    world.register("a", 1).await;
    world.register("b", 1).await;
    world.connect("a", "ann", "s", 1).await;
    let lost_to = |node: &str, generation| Connected::Accepted {
        lost: Some(lost(node, "s", generation, &format!("{node}/ann/s/{generation}"))),
        changed: false,
    };
    assert_eq!(world.connect("a", "ann", "s", 2).await, lost_to("a", 1));
    assert_eq!(world.connect("b", "ann", "s", 3).await, lost_to("a", 2));
    // Closed before: nobody is there to be told.
    world.store.disconnect("ann", "s", any(3)).await.unwrap();
    assert_eq!(world.connect("a", "ann", "s", 4).await, accepted(false));
}

/// What one user calls a session is nothing to another.
pub(crate) async fn other_user(world: World) {
    use mingle_presence::store::Set;
    world.register("a", 1).await;
    world.connect("a", "ann", "s", 1).await;
    let set = world.store.set_status("bob", "s", Status::Busy).await.unwrap();
    assert_eq!(set, Set::UnknownSession);
    assert!(!world.store.disconnect("bob", "s", any(1)).await.unwrap());
    assert_eq!(world.get("ann").await.sessions, 1);
    assert_eq!(world.status("ann").await, Some(Status::Online));
    assert_eq!(world.status("bob").await, None);
}

/// A connect or registration that arrives late, after the close of its own
/// socket, does not open the session again.
pub(crate) async fn closed_stays_closed(world: World) {
    world.register("a", 1).await;
    world.connect("a", "ann", "s", 1).await;
    world.store.disconnect("ann", "s", any(1)).await.unwrap();
    assert_eq!(world.connect("a", "ann", "s", 1).await, accepted(false));
    let again = vec![claim("ann", "s", 1, "a/ann/s/1")];
    let stored = world.store.register_sessions("a", again).await.unwrap();
    let nothing = Stored::Done { superseded: vec![], lost: vec![], changed: vec![] };
    assert_eq!(stored, nothing);
    assert_eq!(world.get("ann").await.sessions, 0);
    world.pass_renewing("a", 1, 10_000).await;
    assert_eq!(world.status("ann").await, None);
}

/// A resume without a status keeps the stored one; with one, sets it.
pub(crate) async fn status_of_a_resume(world: World) {
    world.register("a", 1).await;
    let mut offer = claim("ann", "s", 1, "x");
    offer.status = Some(Status::Busy);
    assert_eq!(world.store.connect("a", offer.clone()).await.unwrap(), accepted(true));
    world.store.disconnect("ann", "s", any(1)).await.unwrap();
    assert_eq!(world.connect("a", "ann", "s", 2).await, accepted(false));
    assert_eq!(world.status("ann").await, Some(Status::Busy));
    world.store.disconnect("ann", "s", any(2)).await.unwrap();
    (offer.generation, offer.status) = (3, Some(Status::Away));
    assert_eq!(world.store.connect("a", offer).await.unwrap(), accepted(true));
    assert_eq!(world.status("ann").await, Some(Status::Away));
}
