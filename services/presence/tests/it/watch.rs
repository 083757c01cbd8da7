//! The Watch stream: state first, each change, merged when slow, never a
//! silent hole.

use std::time::Duration;

use futures::FutureExt as _;
use mingle_proto::presence::v1::{
    DisconnectRequest, RegisterSessionsRequest, Session, SetStatusRequest, Status, Superseded,
    WatchGap, WatchNode, WatchUsers, watch_request::Action, watch_response::Event,
};
use mingle_runtime::status::Kind;
use mingle_store::bus::{Announcement, Bus as _};
use mingle_testkit::eventually;

use crate::harness::wire::{Role, refusal};

fn is(user: &str, status: Status) -> (String, Status) {
    (user.to_owned(), status)
}

async fn close(role: &mut Role, user: &str, generation: u64) {
    let (session_id, user_id) = ("s".to_owned(), user.to_owned());
    let request =
        DisconnectRequest { session_id, user_id, generation, ..DisconnectRequest::default() };
    role.client.disconnect(request).await.unwrap();
}

async fn show(role: &mut Role, user: &str, status: Status) {
    let (session_id, user_id) = ("s".to_owned(), user.to_owned());
    let request = SetStatusRequest { session_id, user_id, status: status.into() };
    role.client.set_status(request).await.unwrap();
}

#[tokio::test]
async fn state_comes_first_then_each_change() {
    let mut role = Role::open("").await;
    role.register("gw").await;
    role.connect("gw", "ann", "s", 1).await;
    let mut watch = role.watch().await;
    watch.add(&["ann", "bob"]).await;
    assert_eq!(watch.presence().await, is("ann", Status::Online));
    assert_eq!(watch.presence().await, is("bob", Status::Offline));
    watch.quiet().await;
    role.connect("gw", "bob", "s", 1).await;
    assert_eq!(watch.presence().await, is("bob", Status::Online));
    show(&mut role, "ann", Status::Away).await;
    assert_eq!(watch.presence().await, is("ann", Status::Away));
    // A second device that shows no more: nothing to tell.
    role.connect("gw", "bob", "t", 1).await;
    watch.quiet().await;
    watch.remove(&["bob"]).await;
    watch.quiet().await;
    show(&mut role, "ann", Status::Busy).await;
    assert_eq!(watch.presence().await, is("ann", Status::Busy));
    // Added again, answered again.
    watch.add(&["ann"]).await;
    assert_eq!(watch.presence().await, is("ann", Status::Busy));
}

#[tokio::test]
async fn a_return_within_the_grace_is_not_told_and_its_end_once() {
    let mut role = Role::open("").await;
    role.register("gw").await;
    role.connect("gw", "ann", "s", 1).await;
    let mut watch = role.watch().await;
    watch.add(&["ann"]).await;
    assert_eq!(watch.presence().await, is("ann", Status::Online));
    close(&mut role, "ann", 1).await;
    role.pass_renewing("gw", 9_900).await;
    role.connect("gw", "ann", "s", 2).await;
    role.pass_renewing("gw", 30_000).await;
    watch.quiet().await;
    close(&mut role, "ann", 2).await;
    role.pass_renewing("gw", 9_900).await;
    watch.quiet().await;
    role.pass_renewing("gw", 100).await;
    assert_eq!(watch.presence().await, is("ann", Status::Offline));
    role.pass_renewing("gw", 60_000).await;
    watch.quiet().await;
}

#[tokio::test]
async fn the_users_of_a_dead_node_are_told_once() {
    let mut role = Role::open("").await;
    role.register("gw").await;
    role.register("other").await;
    let users: Vec<String> = (0..100).map(|at| format!("u{at:02}")).collect();
    let mut watch = role.watch().await;
    for user in &users {
        role.connect("gw", user, "s", 1).await;
        watch.add(&[user]).await;
        assert_eq!(watch.presence().await, is(user, Status::Online));
    }
    role.pass_renewing("other", 12_900).await;
    watch.quiet().await;
    role.pass_renewing("other", 100).await;
    let mut offline = Vec::new();
    for _ in &users {
        let (user, status) = watch.presence().await;
        assert_eq!(status, Status::Offline);
        offline.push(user);
    }
    offline.sort_unstable();
    assert_eq!(offline, users);
    watch.quiet().await;
}

/// That the socket of `node` lost its session in `generation`.
fn superseded(node: &str, generation: u64) -> Option<Event> {
    Some(Event::Superseded(Superseded {
        session_id: "s".to_owned(),
        generation,
        connection_id: format!("{node}/ann/s/{generation}"),
    }))
}

#[tokio::test]
async fn the_socket_that_lost_its_session_is_told_to_its_node() {
    let mut role = Role::open("").await;
    role.register("a").await;
    role.register("b").await;
    let (mut at_a, mut at_b) = (role.watch().await, role.watch().await);
    at_a.node("a").await;
    at_b.node("b").await;
    at_a.quiet().await;
    role.connect("a", "ann", "s", 1).await;
    role.connect("b", "ann", "s", 2).await;
    assert_eq!(at_a.next().await.unwrap(), superseded("a", 1));
    at_b.quiet().await;
    role.connect("b", "ann", "s", 3).await;
    assert_eq!(at_b.next().await.unwrap(), superseded("b", 2));
    let session = Session {
        session_id: "s".to_owned(),
        user_id: "ann".to_owned(),
        generation: 4,
        connection_id: "x".to_owned(),
        status: Status::Online.into(),
    };
    let request = RegisterSessionsRequest { node_id: "a".to_owned(), sessions: vec![session] };
    role.client.register_sessions(request).await.unwrap();
    assert_eq!(at_b.next().await.unwrap(), superseded("b", 3));
    at_a.quiet().await;
    // Another node instead.
    at_a.node("b").await;
    at_a.quiet().await;
    role.connect("b", "ann", "s", 5).await;
    role.connect("a", "ann", "s", 6).await;
    assert_eq!(at_a.next().await.unwrap(), superseded("b", 5));
}

#[tokio::test]
async fn of_two_resumes_at_once_one_holds_and_the_loser_is_told() {
    let mut role = Role::open("").await;
    role.register("a").await;
    role.register("b").await;
    let (mut at_a, mut at_b) = (role.watch().await, role.watch().await);
    at_a.node("a").await;
    at_b.node("b").await;
    at_a.quiet().await;
    at_b.quiet().await;
    let (mut one, mut other) = (role.client.clone(), role.client.clone());
    let (one, other) = tokio::join!(
        one.connect(crate::harness::wire::connect("a", "ann", "s", 2)),
        other.connect(crate::harness::wire::connect("b", "ann", "s", 2)),
    );
    let (one, other) = (one.unwrap().into_inner(), other.unwrap().into_inner());
    // Whichever claim is done first, the later socket holds it: ids tell.
    assert!(other.accepted, "{other:?}");
    assert_eq!((one.generation, other.generation), (2, 2));
    if one.accepted {
        assert_eq!(at_a.next().await.unwrap(), superseded("a", 2));
    }
    // The one that was refused tries above, and the holder is told.
    assert!(role.connect("a", "ann", "s", 3).await.accepted);
    assert_eq!(at_b.next().await.unwrap(), superseded("b", 2));
    assert_eq!(role.get("ann").await.sessions, 1);
}

#[tokio::test]
async fn a_slow_watcher_gets_the_latest_and_not_all() {
    let mut role = Role::open("").await;
    role.register("gw").await;
    role.connect("gw", "ann", "s", 1).await;
    let mut watch = role.watch().await;
    watch.add(&["ann"]).await;
    assert_eq!(watch.presence().await, is("ann", Status::Online));
    for _ in 0..500 {
        show(&mut role, "ann", Status::Away).await;
        show(&mut role, "ann", Status::Online).await;
    }
    show(&mut role, "ann", Status::Busy).await;
    let mut told = 1;
    while watch.presence().await.1 != Status::Busy {
        told += 1;
    }
    assert!(told < 200, "1,001 changes were merged into {told}");
    watch.quiet().await;
}

#[tokio::test]
async fn a_gap_is_told_and_all_states_again() {
    let mut role = Role::open("").await;
    role.register("gw").await;
    let mut watch = role.watch().await;
    watch.add(&["ann", "bob"]).await;
    watch.presence().await;
    watch.presence().await;
    // More at once than the bus holds for a subscriber, on ann's topic.
    let topic = topic_of_connecting(&mut role, "ann").await;
    assert_eq!(watch.presence().await, is("ann", Status::Online));
    for _ in 0..3_000 {
        role.bus.publish(&[Announcement::new(&topic, &b"\x01someone"[..])]).await.unwrap();
    }
    assert_eq!(watch.next().await.unwrap(), Some(Event::Gap(WatchGap {})));
    let mut again = [watch.presence().await, watch.presence().await];
    again.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(again, [is("ann", Status::Online), is("bob", Status::Offline)]);
    watch.quiet().await;
    // A form that this version does not know may say anything.
    role.bus.publish(&[Announcement::new(&topic, &b"\x02news"[..])]).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), Some(Event::Gap(WatchGap {})));
}

/// The one of the fixed topics on which `user`, who now connects, is announced.
async fn topic_of_connecting(role: &mut Role, user: &str) -> String {
    let mut all = Vec::new();
    for partition in 0..256 {
        let topic = format!("presence:user:{partition}");
        let subscription = role.bus.subscribe(&topic).await.unwrap();
        all.push((topic, subscription));
    }
    role.connect("gw", user, "s", 1).await;
    let mut heard = all
        .into_iter()
        .filter_map(|(topic, mut subscription)| subscription.recv().now_or_never().map(|_| topic));
    let topic = heard.next().unwrap();
    assert_eq!(heard.next(), None);
    topic
}

#[tokio::test]
async fn a_stream_ends_with_its_requests_and_leaves_nothing_behind() {
    let mut role = Role::open("").await;
    let idle = role.bus.topics();
    let mut watch = role.watch().await;
    watch.node("gw").await;
    watch.add(&["ann", "bob"]).await;
    watch.end();
    // What was asked for is still answered.
    assert_eq!(watch.presence().await, is("ann", Status::Offline));
    assert_eq!(watch.presence().await, is("bob", Status::Offline));
    assert_eq!(watch.next().await.unwrap(), None);
    assert_eq!(role.bus.topics(), idle);

    let mut watch = role.watch().await;
    watch.node("gw").await;
    watch.add(&["ann"]).await;
    watch.presence().await;
    assert_eq!(role.bus.topics(), idle + 2);
    drop(watch);
    eventually(Duration::from_secs(5), "the stream's task ends", async || {
        role.bus.topics() == idle
    })
    .await;
}

#[tokio::test]
async fn a_wrong_request_ends_the_stream_and_says_why() {
    let mut role = Role::open("[presence]\nmax_watched_users = 2").await;
    let long = vec!["ann"; 1_001];
    let add = |users: &[&str]| {
        let user_ids = users.iter().map(|user| (*user).to_owned()).collect();
        Some(Action::Add(WatchUsers { user_ids }))
    };
    let cases = [
        (None, "REQUIRED", "action"),
        (add(&["ann", ""]), "REQUIRED", "add.user_ids[1]"),
        (add(&long), "TOO_LONG", "add.user_ids"),
        (add(&["ann", "bob", "cat"]), "TOO_LONG", "add.user_ids"),
        (
            Some(Action::Remove(WatchUsers { user_ids: vec!["a\n".to_owned()] })),
            "MALFORMED",
            "remove.user_ids[0]",
        ),
        (Some(Action::Node(WatchNode { node_id: "a b".to_owned() })), "MALFORMED", "node.node_id"),
    ];
    for (action, reason, field) in cases {
        let mut watch = role.watch().await;
        watch.ask(action).await;
        let refused = refusal(watch.next().await);
        assert_eq!(refused, (Kind::Invalid, reason.to_owned(), field.to_owned()));
    }
    // Those no longer followed make room.
    let mut watch = role.watch().await;
    watch.add(&["ann", "bob", "ann"]).await;
    watch.presence().await;
    watch.presence().await;
    watch.remove(&["bob", "nobody"]).await;
    watch.add(&["cat"]).await;
    assert_eq!(watch.presence().await, is("cat", Status::Offline));
}
