//! One user's value cannot be read: it is damaged, or of a newer process.

use futures::{StreamExt as _, stream};
use mingle_presence::{
    domain::Status,
    store::{Connected, Set, Store as _, Stored},
};
use mingle_proto::presence::v1::{
    GetManyRequest, RegisterNodeRequest, Status as Shows, WatchRequest, WatchUsers,
    watch_request::Action, watch_response::Event,
};
use mingle_runtime::grpc::degraded::DEGRADED;
use mingle_store::{Backends, bus::Memory as Bus, clock::ManualClock, sqlite::Sqlite};
use tokio::time::timeout;

use super::{Processes, ROOMY, names, socket};
use crate::harness::{
    servers::SOON,
    wire,
    world::{START, any, node},
};

/// What no process of this version writes.
const NEWER: &str = "~from the next version";

impl Processes {
    /// Replaces what is stored of a user; answers where that is.
    fn damage(&self, user: &str) -> String {
        let buckets = self.keys("*:[uw]:*");
        let holds = |key: &String| self.server.cli(&["HEXISTS", key, user]) == "1";
        let bucket = buckets.into_iter().find(holds).expect("a user who is stored");
        assert_eq!(self.server.cli(&["HSET", &bucket, user, NEWER]), "0");
        bucket
    }
}

fn asked(users: &[&str]) -> Vec<String> {
    users.iter().map(|user| (*user).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_read_is_unknown_and_harms_no_other() {
    let processes = Processes::start(2, ROOMY).await;
    let store = &processes.stores[0];
    store.register_node(node("a", 1)).await.unwrap();
    for user in ["ann", "bob", "eve"] {
        processes.connect(0, "a", socket(user, 1, "x")).await;
    }
    let bucket = processes.damage("ann");
    let read = store.get_many(&asked(&["bob", "ann", "eve"])).await.unwrap();
    let shown: Vec<_> = read.iter().map(|it| (it.status, it.unknown, it.unreadable)).collect();
    let online = (Some(Status::Online), false, false);
    assert_eq!(shown, [online, (None, true, true), online]);
    // What there is to end or to change nobody knows.
    assert!(!store.disconnect("ann", "s", any(1)).await.unwrap());
    assert_eq!(store.set_status("ann", "s", Status::Away).await.unwrap(), Set::UnknownSession);
    assert_eq!(processes.server.cli(&["HGET", &bucket, "ann"]), NEWER, "left as it was");
    processes.clock.advance(14_000);
    let mut changed = Vec::new();
    for _ in 0..64 {
        changed.extend(store.sweep().await.unwrap());
    }
    changed.sort_unstable();
    assert_eq!(changed, ["bob", "eve"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_read_claims_anew() {
    let processes = Processes::start(2, ROOMY).await;
    let store = &processes.stores[0];
    store.register_node(node("a", 1)).await.unwrap();
    processes.connect(0, "a", socket("u7", 1, "x")).await;
    processes.damage("u7");
    // More than are written in one go.
    let users = names(600);
    let claims = users.iter().map(|user| socket(user, 1, "x")).collect();
    let stored = store.register_sessions("a", claims).await.unwrap();
    assert!(matches!(stored, Stored::Done { changed, .. } if changed == users), "all of them");
    let online = async || {
        let read = store.get_many(&users).await.unwrap();
        read.iter().filter(|it| it.status == Some(Status::Online) && it.sessions == 1).count()
    };
    assert_eq!(online().await, users.len());
    // Two at once replace it: the second sees the first.
    for round in 1..=20 {
        processes.damage("u8");
        let (low, high) = (2 * round, 2 * round + 1);
        tokio::join!(
            processes.connect(0, "a", socket("u8", low, "low")),
            processes.connect(1, "a", socket("u8", high, "high")),
        );
        let late = processes.connect(0, "a", socket("u8", low, "other")).await;
        assert_eq!(late, Connected::Held(high), "{round}");
    }
    assert_eq!(online().await, users.len());
}

/// A stream tells of the others, says once that nobody knows of this one, and
/// tells of them when they come anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_past_who_cannot_be_read() {
    let processes = Processes::start(1, ROOMY).await;
    processes.stores[0].register_node(node("a", 1)).await.unwrap();
    for user in ["ann", "bob"] {
        processes.connect(0, "a", socket(user, 1, "x")).await;
    }
    processes.damage("ann");
    let folder = tempfile::tempdir().unwrap();
    let backends = Backends {
        database: Sqlite::open(folder.path()).await.unwrap().into(),
        redis: Some(processes.connections[0].clone()),
        bus: std::sync::Arc::new(Bus::new()),
        clock: std::sync::Arc::new(ManualClock::at(START)),
    };
    let (mut client, context) = wire::serve("", backends).await;
    let action = Action::Add(WatchUsers { user_ids: asked(&["ann", "bob"]) });
    let requests = stream::iter([WatchRequest { action: Some(action) }]).chain(stream::pending());
    let mut answers = client.watch(requests).await.unwrap().into_inner();
    let mut next = async || {
        let answer = timeout(SOON, answers.message()).await.expect("an answer");
        match answer.unwrap().unwrap().event {
            Some(Event::Presence(presence)) => (presence.user_id.clone(), presence.status()),
            event => panic!("{event:?}"),
        }
    };
    assert_eq!(next().await, ("ann".to_owned(), Shows::Unknown));
    assert_eq!(next().await, ("bob".to_owned(), Shows::Online));
    let asks = GetManyRequest { user_ids: asked(&["ann", "bob"]) };
    let reply = client.get_many(asks).await.unwrap();
    assert!(!reply.metadata().contains_key(DEGRADED), "one user is no outage");
    assert_eq!(reply.into_inner().presences[0].status(), Shows::Unknown);
    client.register_node(RegisterNodeRequest { node: Some(wire::node("b")) }).await.unwrap();
    client.connect(wire::connect("b", "ann", "s", 2)).await.unwrap();
    assert_eq!(next().await, ("ann".to_owned(), Shows::Online), "and not unknown again");
    drop(context);
}
