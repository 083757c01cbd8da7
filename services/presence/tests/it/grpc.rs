//! The RPCs through the whole server stack, in process: their fields and bounds,
//! and how a refusal looks. What they mean is the conformance suite's (`suite!(grpc)`).

use mingle_proto::presence::v1::{
    ConnectRequest, CountRequest, CountResponse, DisconnectRequest, GetManyRequest, GetRequest,
    ListNodesRequest, RegisterNodeRequest, RegisterNodeResponse, RegisterSessionsRequest,
    RenewNodeRequest, Session, SetStatusRequest, Status,
};
use mingle_runtime::status::Kind;

use crate::harness::{
    wire::{Role, connect, node, refusal},
    world::START,
};

fn invalid(reason: &str, field: &str) -> (Kind, String, String) {
    (Kind::Invalid, reason.to_owned(), field.to_owned())
}

fn session(user: &str, generation: u64) -> Session {
    Session {
        session_id: "s".to_owned(),
        user_id: user.to_owned(),
        generation,
        connection_id: "x".to_owned(),
        status: Status::Unspecified.into(),
    }
}

fn disconnect(user: &str, generation: u64) -> DisconnectRequest {
    DisconnectRequest {
        session_id: "s".to_owned(),
        user_id: user.to_owned(),
        generation,
        ..DisconnectRequest::default()
    }
}

fn set_status(user: &str, status: Status) -> SetStatusRequest {
    SetStatusRequest { session_id: "s".to_owned(), user_id: user.to_owned(), status: status.into() }
}

#[tokio::test]
async fn a_life_of_a_session_with_every_call_made_twice() {
    let mut role = Role::open("").await;
    for _ in 0..2 {
        let request = RegisterNodeRequest { node: Some(node("gw")) };
        let registered = role.client.register_node(request).await.unwrap().into_inner();
        assert_eq!(registered, RegisterNodeResponse { lease_ms: 3_000, renew_ms: 1_500 });
        let renewal = RenewNodeRequest { node_id: "gw".to_owned(), generation: 1 };
        role.client.renew_node(renewal).await.unwrap();
    }
    for _ in 0..2 {
        let connected = role.connect("gw", "ann", "s", 1).await;
        assert_eq!((connected.accepted, connected.generation), (true, 1));
        role.client.set_status(set_status("ann", Status::Busy)).await.unwrap();
        let ann = role.get("ann").await;
        assert_eq!((ann.status(), ann.sessions), (Status::Busy, 1));
        let count = role.client.count(CountRequest {}).await.unwrap().into_inner();
        assert_eq!(count, CountResponse { users: 1, sessions: 1 });
        let sessions = vec![session("bob", 1)];
        let request = RegisterSessionsRequest { node_id: "gw".to_owned(), sessions };
        let reply = role.client.register_sessions(request).await.unwrap().into_inner();
        assert!(reply.superseded_session_ids.is_empty());
        role.client.disconnect(disconnect("bob", 1)).await.unwrap();
        // Bob's grace runs: he is counted as a user, not as a session.
        role.pass_renewing("gw", 10_000).await;
        let count = role.client.count(CountRequest {}).await.unwrap().into_inner();
        assert_eq!(count.sessions, 1);
    }
    for _ in 0..2 {
        role.client.disconnect(disconnect("ann", 1)).await.unwrap();
    }
    let nodes = role.client.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(nodes, [node("gw")]);
    role.pass(10_000).await;
    let ann = role.get("ann").await;
    assert_eq!((ann.status(), ann.sessions), (Status::Offline, 0));
    assert_eq!(ann.last_seen.unwrap().millis(), START + 20_000);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let mut role = Role::open("").await;
    let not_found = (Kind::NotFound, "SESSION_NOT_FOUND".to_owned(), String::new());
    let renewal = RenewNodeRequest { node_id: "gw".to_owned(), generation: 1 };
    assert_eq!(refusal(role.client.renew_node(renewal.clone()).await), not_found);
    let connecting = role.client.connect(connect("gw", "ann", "s", 1)).await;
    assert_eq!(refusal(connecting), not_found);
    let request = RegisterSessionsRequest { node_id: "gw".to_owned(), sessions: vec![] };
    assert_eq!(refusal(role.client.register_sessions(request).await), not_found);
    role.register("gw").await;
    role.connect("gw", "ann", "s", 1).await;
    let foreign = role.client.set_status(set_status("bob", Status::Away)).await;
    assert_eq!(refusal(foreign), not_found);
    role.client.disconnect(disconnect("bob", 1)).await.unwrap();
    assert_eq!(role.get("ann").await.sessions, 1);

    let mut newer = node("gw");
    newer.generation = 2;
    role.client.register_node(RegisterNodeRequest { node: Some(newer) }).await.unwrap();
    assert_eq!(refusal(role.client.renew_node(renewal).await), not_found);
    let older = RegisterNodeRequest { node: Some(node("gw")) };
    let superseded = (Kind::Precondition, "SESSION_SUPERSEDED".to_owned(), String::new());
    assert_eq!(refusal(role.client.register_node(older).await), superseded);
}

#[tokio::test]
async fn a_full_store_says_so() {
    let mut role = Role::open("[presence]\nmax_sessions = 1\nmax_nodes = 1").await;
    role.register("gw").await;
    role.connect("gw", "ann", "s", 1).await;
    let full = (Kind::Exhausted, "OVERLOADED".to_owned(), String::new());
    assert_eq!(refusal(role.client.connect(connect("gw", "bob", "s", 1)).await), full);
    let sessions = vec![session("bob", 1)];
    let request = RegisterSessionsRequest { node_id: "gw".to_owned(), sessions };
    assert_eq!(refusal(role.client.register_sessions(request).await), full);
    let request = RegisterNodeRequest { node: Some(node("other")) };
    assert_eq!(refusal(role.client.register_node(request).await), full);
}

#[tokio::test]
async fn ids_are_checked_and_the_field_is_named() {
    let mut role = Role::open("").await;
    let long = "é".repeat(129);
    let cases = [
        ("", "REQUIRED"),
        (long.as_str(), "TOO_LONG"),
        ("a\nb", "MALFORMED"),
        ("a\u{0}b", "MALFORMED"),
        ("a\u{85}b", "MALFORMED"),
    ];
    for (id, reason) in cases {
        let get = role.client.get(GetRequest { user_id: id.to_owned() }).await;
        assert_eq!(refusal(get), invalid(reason, "user_id"), "{id:?}");
        let user_ids = vec!["ann".to_owned(), id.to_owned()];
        let many = role.client.get_many(GetManyRequest { user_ids }).await;
        assert_eq!(refusal(many), invalid(reason, "user_ids[1]"), "{id:?}");
    }
    let longest = role.get(&"é".repeat(128)).await;
    assert_eq!(longest.status(), Status::Offline);
    for (id, reason) in [("", "REQUIRED"), ("a b", "MALFORMED"), (&"n".repeat(65), "TOO_LONG")] {
        let request = RegisterNodeRequest { node: Some(node(id)) };
        let registered = role.client.register_node(request).await;
        assert_eq!(refusal(registered), invalid(reason, "node.node_id"));
    }
    let absent = role.client.register_node(RegisterNodeRequest { node: None }).await;
    assert_eq!(refusal(absent), invalid("REQUIRED", "node"));
}

type Spoil = fn(&mut ConnectRequest);

#[tokio::test]
async fn each_field_of_a_socket_is_checked() {
    let mut role = Role::open("").await;
    let cases: [(Spoil, &str, &str); 6] = [
        (|socket| socket.session_id.clear(), "REQUIRED", "session_id"),
        (|socket| socket.user_id.push('\u{7}'), "MALFORMED", "user_id"),
        (|socket| socket.node_id.push('/'), "MALFORMED", "node_id"),
        (|socket| socket.generation = 0, "REQUIRED", "generation"),
        (|socket| socket.connection_id = "x".repeat(129), "TOO_LONG", "connection_id"),
        (|socket| socket.status = 99, "MALFORMED", "status"),
    ];
    for (spoil, reason, field) in cases {
        let mut socket = connect("gw", "ann", "s", 1);
        spoil(&mut socket);
        assert_eq!(refusal(role.client.connect(socket).await), invalid(reason, field));
    }
    let long = DisconnectRequest { connection_id: "x".repeat(129), ..disconnect("ann", 1) };
    let ended = role.client.disconnect(long).await;
    assert_eq!(refusal(ended), invalid("TOO_LONG", "connection_id"));
    for (status, reason) in [
        (Status::Unspecified, "REQUIRED"),
        (Status::Offline, "MALFORMED"),
        (Status::Unknown, "MALFORMED"),
    ] {
        let set = role.client.set_status(set_status("ann", status)).await;
        assert_eq!(refusal(set), invalid(reason, "status"));
    }
}

#[tokio::test]
async fn lists_have_bounds() {
    let mut role = Role::open("").await;
    role.register("gw").await;
    let user_ids = vec!["ann".to_owned(); 1_001];
    let many = role.client.get_many(GetManyRequest { user_ids }).await;
    assert_eq!(refusal(many), invalid("TOO_LONG", "user_ids"));
    let sessions = vec![session("ann", 1); 1_001];
    let request = RegisterSessionsRequest { node_id: "gw".to_owned(), sessions };
    let registered = role.client.register_sessions(request).await;
    assert_eq!(refusal(registered), invalid("TOO_LONG", "sessions"));
    let sessions = vec![session("ann", 1), session("bob", 0)];
    let request = RegisterSessionsRequest { node_id: "gw".to_owned(), sessions };
    let registered = role.client.register_sessions(request).await;
    assert_eq!(refusal(registered), invalid("REQUIRED", "sessions[1].generation"));
    // All or nothing: the first was good and is not stored.
    assert_eq!(role.get("ann").await.status(), Status::Offline);
}
