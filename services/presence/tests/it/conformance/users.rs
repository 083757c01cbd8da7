//! Several devices are one user, and the bounds hold.

use mingle_presence::{
    domain::{Presence, Status},
    store::{Connected, Set},
};

use crate::harness::world::{LIMITS, START, World, accepted, any, claim};

/// The most present session counts; closing one of two says nothing.
pub(crate) async fn devices(world: World) {
    world.register("a", 1).await;
    let mut tablet = claim("ann", "tablet", 1, "t");
    tablet.status = Some(Status::Away);
    assert_eq!(world.store.connect("a", tablet).await.unwrap(), accepted(true));
    assert_eq!(world.status("ann").await, Some(Status::Away));
    let mut laptop = claim("ann", "laptop", 1, "l");
    laptop.status = Some(Status::Busy);
    assert_eq!(world.store.connect("a", laptop).await.unwrap(), accepted(true));
    assert_eq!(world.status("ann").await, Some(Status::Busy));
    assert_eq!(world.connect("a", "ann", "phone", 1).await, accepted(true));
    let ann = world.get("ann").await;
    assert_eq!((ann.status, ann.sessions), (Some(Status::Online), 3));

    assert!(!world.store.disconnect("ann", "tablet", any(1)).await.unwrap());
    world.pass_renewing("a", 1, 10_000).await;
    assert_eq!(world.sweep().await, Vec::<String>::new());
    assert_eq!(world.get("ann").await.sessions, 2);

    // The most present one closes: what it showed stays for its grace.
    assert!(!world.store.disconnect("ann", "phone", any(1)).await.unwrap());
    world.pass_renewing("a", 1, 9_999).await;
    assert_eq!(world.status("ann").await, Some(Status::Online));
    world.clock.advance(1);
    assert_eq!(world.status("ann").await, Some(Status::Busy));
    assert_eq!(world.sweep().await, ["ann"]);
    assert_eq!(world.sweep().await, Vec::<String>::new());
}

/// The 21st session is refused; a resume at the limit replaces its own.
pub(crate) async fn limit(world: World) {
    world.register("a", 1).await;
    for at in 0..20 {
        let connected = world.connect("a", "ann", &format!("s{at}"), 1).await;
        assert_eq!(connected, accepted(at == 0));
    }
    assert_eq!(world.connect("a", "ann", "s20", 1).await, Connected::TooMany);
    assert_eq!(world.get("ann").await.sessions, 20);
    let resumed = world.connect("a", "ann", "s7", 2).await;
    assert!(matches!(resumed, Connected::Accepted { lost: Some(_), changed: false }));
    assert_eq!(world.connect("a", "ann", "s3", 1).await, accepted(false));
    assert_eq!(world.get("ann").await.sessions, 20);
    assert_eq!(world.connect("a", "bob", "s20", 1).await, accepted(true));
}

/// Closed sessions and those of dead nodes leave room at once.
pub(crate) async fn ended_do_not_count(world: World) {
    world.register("a", 1).await;
    world.register("b", 1).await;
    for at in 0..20 {
        let node = if at < 10 { "a" } else { "b" };
        world.connect(node, "ann", &format!("s{at}"), 1).await;
    }
    world.store.disconnect("ann", "s0", any(1)).await.unwrap();
    assert_eq!(world.connect("a", "ann", "new", 1).await, accepted(false));
    assert_eq!(world.connect("a", "ann", "newer", 1).await, Connected::TooMany);
    // Its place is taken: the one in grace cannot return.
    assert_eq!(world.connect("a", "ann", "s0", 2).await, Connected::TooMany);
    world.pass_renewing("a", 1, 3_000).await;
    assert_eq!(world.get("ann").await.sessions, 10);
    assert_eq!(world.connect("a", "ann", "newer", 1).await, accepted(false));
}

/// Answers come in the order asked, doubles and strangers too.
pub(crate) async fn many_in_order(world: World) {
    world.register("a", 1).await;
    for user in ["u3", "u1"] {
        world.connect("a", user, "s", 1).await;
    }
    let asked = ["u1", "u2", "u3", "u1"].map(str::to_owned);
    let answered = world.store.get_many(&asked).await.unwrap();
    let users: Vec<_> = answered.iter().map(|presence| presence.user_id.as_str()).collect();
    assert_eq!(users, ["u1", "u2", "u3", "u1"]);
    let stranger = Presence {
        user_id: "u2".to_owned(),
        status: None,
        unknown: false,
        unreadable: false,
        last_seen: None,
        sessions: 0,
    };
    assert_eq!(answered[1], stranger);
    assert_eq!(answered[2].status, Some(Status::Online));
    assert_eq!(answered[0], answered[3]);
    assert!(world.store.get_many(&[]).await.unwrap().is_empty());
}

/// A status is stored until the session ends.
pub(crate) async fn set_status(world: World) {
    world.register("a", 1).await;
    world.connect("a", "ann", "s", 1).await;
    let set = async |status| world.store.set_status("ann", "s", status).await.unwrap();
    assert_eq!(set(Status::Away).await, Set::Done(true));
    assert_eq!(set(Status::Away).await, Set::Done(false));
    assert_eq!(world.status("ann").await, Some(Status::Away));
    assert_eq!(
        world.store.set_status("ann", "t", Status::Busy).await.unwrap(),
        Set::UnknownSession
    );
    world.store.disconnect("ann", "s", any(1)).await.unwrap();
    world.pass_renewing("a", 1, 10_000).await;
    assert_eq!(set(Status::Online).await, Set::UnknownSession);
}

/// Of users who are offline, those seen longest ago are forgotten.
pub(crate) async fn last_seen_is_bounded(world: World) {
    world.register("a", 1).await;
    let users = LIMITS.max_last_seen + 3;
    for at in 0..users {
        world.connect("a", &format!("u{at}"), "s", 1).await;
        world.clock.advance(1);
        world.store.disconnect(&format!("u{at}"), "s", any(1)).await.unwrap();
    }
    world.pass_renewing("a", 1, 10_000).await;
    assert_eq!(world.sweep().await.len(), users);
    for at in 0..users {
        let closed = START + 1 + i64::try_from(at).unwrap();
        let expected = (at >= 3).then_some(closed);
        assert_eq!(world.get(&format!("u{at}")).await.last_seen, expected, "u{at}");
    }
}

/// A full store refuses new sessions and takes resumes.
pub(crate) async fn store_is_bounded(world: World) {
    world.register("a", 1).await;
    for at in 0..LIMITS.max_sessions {
        world.connect("a", &format!("u{at}"), "s", 1).await;
    }
    assert_eq!(world.connect("a", "one more", "s", 1).await, Connected::Full);
    let resumed = world.connect("a", "u0", "s", 2).await;
    assert!(matches!(resumed, Connected::Accepted { lost: Some(_), .. }));
    world.store.disconnect("u0", "s", any(2)).await.unwrap();
    world.pass_renewing("a", 1, 10_000).await;
    assert_eq!(world.sweep().await, ["u0"]);
    assert_eq!(world.connect("a", "one more", "s", 1).await, accepted(true));
}

/// Whoever opens and closes sessions without end stays bounded.
pub(crate) async fn ended_are_bounded(world: World) {
    world.register("a", 1).await;
    for at in 0..2 * LIMITS.max_sessions {
        let session = format!("s{at}");
        let connected = world.connect("a", "ann", &session, 1).await;
        assert_eq!(connected, accepted(at == 0));
        world.store.disconnect("ann", &session, any(1)).await.unwrap();
    }
    assert_eq!(world.connect("a", "bob", "s", 1).await, accepted(true));
    assert_eq!(world.status("ann").await, Some(Status::Online));
}

/// A refusal cannot say that time changed the user's status: the sweep does.
pub(crate) async fn refusals_swallow_no_change(world: World) {
    let open = async |user: &str, session: &str, status| {
        let mut offer = claim(user, session, 5, session);
        offer.status = Some(status);
        let connected = world.store.connect("a", offer).await.unwrap();
        assert!(matches!(connected, Connected::Accepted { lost: None, .. }), "{connected:?}");
    };
    world.register("a", 1).await;
    for user in ["held", "many", "none"] {
        open(user, "gone", Status::Online).await;
    }
    open("held", "s", Status::Away).await;
    for at in 0..19 {
        open("many", &format!("s{at}"), Status::Away).await;
    }
    for user in ["held", "many", "none"] {
        world.store.disconnect(user, "gone", any(5)).await.unwrap();
    }
    open("many", "s19", Status::Away).await;
    world.pass_renewing("a", 1, 10_000).await;

    assert_eq!(world.connect("a", "held", "s", 4).await, Connected::Held(5));
    assert_eq!(world.connect("a", "many", "one more", 1).await, Connected::TooMany);
    let set = world.store.set_status("none", "gone", Status::Busy).await.unwrap();
    assert_eq!(set, Set::UnknownSession);
    for (user, status) in
        [("held", Some(Status::Away)), ("many", Some(Status::Away)), ("none", None)]
    {
        assert_eq!(world.status(user).await, status, "{user}");
    }
    assert_eq!(world.sweep().await, ["held", "many", "none"]);
    assert_eq!(world.sweep().await, Vec::<String>::new());
    assert_eq!(world.store.count().await.unwrap().users, 2);
}

/// The same of a store that is full.
pub(crate) async fn full_swallows_no_change(world: World) {
    world.register("a", 1).await;
    world.connect("a", "ann", "gone", 1).await;
    for at in 1..LIMITS.max_sessions {
        world.connect("a", &format!("u{at}"), "s", 1).await;
    }
    world.store.disconnect("ann", "gone", any(1)).await.unwrap();
    world.pass_renewing("a", 1, 10_000).await;
    assert_eq!(world.connect("a", "ann", "new", 1).await, Connected::Full);
    assert_eq!(world.sweep().await, ["ann"]);
    assert_eq!(world.connect("a", "ann", "new", 1).await, accepted(true));
}
