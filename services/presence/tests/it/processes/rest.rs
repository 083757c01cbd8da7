//! After a time in which no node could renew, nobody is told offline before
//! the nodes had the time to be heard again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mingle_presence::{
    Config, bind,
    domain::Status,
    store::{
        Registered, Store as _, Stored,
        redis::{Patience, RedisStore},
    },
};
use mingle_proto::presence::v1::{
    GetRequest, RegisterNodeRequest, RegisterSessionsRequest, RenewNodeRequest, Session,
    Status as Shows, WatchRequest, WatchUsers, presence_service_client::PresenceServiceClient,
    watch_request::Action, watch_response::Event,
};
use mingle_runtime::{Context, config::Section as _, grpc::Transport};
use mingle_store::{Backends, bus::Memory as Bus, clock::SystemClock, sqlite::Sqlite};
use mingle_testkit::eventually;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::{Processes, ROOMY, names, socket};
use crate::harness::{
    servers::{SOON, connected},
    wire,
    world::{NEVER_RESTS, TERMS, any, node},
};

const HOUR: Duration = Duration::from_secs(3_600);
/// Long enough that a slow machine does what a test does within a rest.
const RESTS: Patience = Patience { silence: Duration::from_secs(2), rest: Duration::from_secs(6) };

impl Processes {
    /// Another process on the first connection.
    fn process(&self, patience: Patience) -> RedisStore {
        RedisStore::with_patience(self.connections[0].clone(), TERMS, ROOMY, patience)
    }
}

async fn is_unknown(store: &RedisStore, user: &str) -> bool {
    let read = store.get_many(&[user.to_owned()]).await.unwrap().remove(0);
    assert_eq!(read.status, None);
    read.unknown
}

/// The server is frozen for longer than lease and grace, keeps its data, and
/// wakes: also to a process whose sweeps failed before they asked who leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_offline_after_a_silence() {
    let timeout = Duration::from_millis(200);
    let processes = Processes::start_within(1, ROOMY, timeout).await;
    let store = processes.process(RESTS);
    let users = names(30);
    let register = async || {
        let registered = store.register_node(node("a", 1)).await.unwrap();
        assert_eq!(registered, Registered::Leased);
        // One has left meanwhile.
        let claims = users[1..].iter().map(|user| socket(user, 1, "x")).collect();
        store.register_sessions("a", claims).await.unwrap()
    };
    register().await;
    store.connect("a", socket("u0", 1, "x")).await.unwrap();
    store.connect("a", socket("u00", 1, "x")).await.unwrap();
    eventually(SOON, "the end of the rest that it begins with", async || {
        assert!(store.sweep().await.unwrap().is_empty());
        store.rests().is_none()
    })
    .await;
    owe_a_hint(&processes, &store, "u00").await;

    processes.server.freeze();
    processes.clock.advance(14_000);
    let asleep = Instant::now();
    eventually(SOON, "a silence", async || {
        assert!(store.sweep().await.is_err());
        asleep.elapsed() > RESTS.silence + timeout
    })
    .await;
    processes.server.thaw();
    eventually(SOON, "an answer", async || store.get_many(&["u1".to_owned()]).await.is_ok()).await;
    assert!(is_unknown(&store, "u1").await, "read before any sweep");
    eventually(SOON, "a sweep", async || match store.sweep().await {
        Ok(changed) => {
            assert!(changed.is_empty(), "{changed:?}");
            true
        }
        Err(_) => false,
    })
    .await;
    assert!(is_unknown(&store, "u1").await, "read after a sweep");
    assert!(!store.renew_node("a", 1).await.unwrap());
    let nothing = Stored::Done { superseded: vec![], lost: vec![], changed: vec![] };
    assert_eq!(register().await, nothing);
    let told = tokio::sync::Mutex::new(Vec::new());
    eventually(SOON, "those who left", async || {
        let mut told = told.lock().await;
        told.extend(store.sweep().await.unwrap());
        told.len() > 1
    })
    .await;
    let mut told = told.into_inner();
    told.sort_unstable();
    assert_eq!(told, ["u0", "u00"]);
    assert!(!is_unknown(&store, "u0").await);
    assert_eq!(store.count().await.unwrap().users, 29);
}

/// Closes a socket whose hint cannot be written: the next sweep owes it.
async fn owe_a_hint(processes: &Processes, store: &RedisStore, user: &str) {
    let hints = format!("mingle:{{p:due}}:{}", generation(processes));
    let _ = processes.server.cli(&["DEL", &hints]);
    let _ = processes.server.cli(&["SET", &hints, "of another type"]);
    store.disconnect(user, "s", any(1)).await.unwrap();
    let _ = processes.server.cli(&["DEL", &hints]);
}

fn generation(processes: &Processes) -> String {
    let fence = processes.connections[0].fence();
    let generation = fence.borrow().clone().unwrap();
    generation.as_str()[..8].to_owned()
}

/// Who begins cannot tell who is offline, unless another process was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_asks_who_was_there() {
    let processes = Processes::start(1, ROOMY).await;
    let begins = Patience { silence: HOUR, rest: HOUR };
    let (first, second) = (processes.process(begins), processes.process(begins));
    assert!(is_unknown(&first, "ann").await);
    first.sweep().await.unwrap();
    second.sweep().await.unwrap();
    assert!(is_unknown(&first, "ann").await && is_unknown(&second, "ann").await, "both rest");
    drop(first);

    let attends = processes.process(NEVER_RESTS);
    eventually(SOON, "the lead", async || {
        attends.sweep().await.unwrap();
        second.sweep().await.unwrap();
        !is_unknown(&second, "ann").await
    })
    .await;
    // Whoever is there shows it at once.
    let third = processes.process(begins);
    third.register_node(node("a", 1)).await.unwrap();
    third.connect("a", socket("ann", 1, "x")).await.unwrap();
    let ann = third.get_many(&["ann".to_owned()]).await.unwrap().remove(0);
    assert_eq!((ann.status, ann.unknown), (Some(Status::Online), false));
}

/// A server that restarted without its data: watchers hear of nobody who is
/// there still, and of those who are not when nodes had time to say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_is_not_told() {
    // Lease and grace are 6 s.
    let terms = "[presence]\nlease_ms = 1000\nrenew_ms = 500\ngrace_ms = 5000";
    let processes = Processes::start(1, ROOMY).await;
    let redis = crate::harness::servers::connect(&processes.server).await;
    let folder = tempfile::tempdir().unwrap();
    let context = Context::for_test(&[Config::DEFAULTS], terms);
    let backends = Backends {
        database: Sqlite::open(folder.path()).await.unwrap().into(),
        redis: Some(redis.clone()),
        bus: Arc::new(Bus::new()),
        clock: Arc::new(SystemClock),
    };
    let routes = bind(context.clone(), backends).await.unwrap().into_routes().unwrap();
    let mut client = PresenceServiceClient::new(Transport::local(routes));
    let (other, mut gateway) = (client.clone(), client.clone());
    let get = async |user: &str| {
        let request = GetRequest { user_id: user.to_owned() };
        other.clone().get(request).await.unwrap().into_inner().presence.unwrap().status()
    };
    assert_eq!(get("zoe").await, Shows::Unknown, "who begins cannot tell");
    eventually(SOON, "the end of the rest that it begins with", async || {
        get("zoe").await == Shows::Offline
    })
    .await;
    let node = || RegisterNodeRequest { node: Some(wire::node("a")) };
    gateway.register_node(node()).await.unwrap();
    gateway.connect(wire::connect("a", "ann", "s", 1)).await.unwrap();

    let (follow, requests) = mpsc::channel(4);
    let mut answers = client.watch(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let follow = async |user: &str| {
        let action = Action::Add(WatchUsers { user_ids: vec![user.to_owned()] });
        follow.send(WatchRequest { action: Some(action) }).await.unwrap();
    };
    let mut next = async || {
        let answer = timeout(SOON, answers.message()).await.expect("an answer");
        match answer.unwrap().unwrap().event {
            Some(Event::Presence(presence)) => (presence.user_id.clone(), presence.status()),
            event => panic!("{event:?}"),
        }
    };
    follow("ann").await;
    assert_eq!(next().await, ("ann".to_owned(), Shows::Online));

    let before = redis.fence().borrow().clone();
    processes.server.restart_empty().await;
    let mut fence = redis.fence();
    timeout(SOON, fence.wait_for(|now| *now != before)).await.expect("a generation").unwrap();
    connected(&redis).await;
    // As after the gap that every stream has then.
    follow("zoe").await;
    follow("ann").await;
    assert_eq!(get("ann").await, Shows::Unknown);
    gateway.register_node(node()).await.unwrap();
    let session = Session {
        session_id: "s".to_owned(),
        user_id: "ann".to_owned(),
        generation: 1,
        connection_id: "a/ann/s/1".to_owned(),
        status: Shows::Online.into(),
    };
    let request = RegisterSessionsRequest { node_id: "a".to_owned(), sessions: vec![session] };
    gateway.register_sessions(request).await.unwrap();
    let renewals = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(300));
        loop {
            ticks.tick().await;
            let renewal = RenewNodeRequest { node_id: "a".to_owned(), generation: 1 };
            gateway.renew_node(renewal).await.unwrap();
        }
    });
    assert_eq!(next().await, ("ann".to_owned(), Shows::Online), "nothing was told in between");
    // Told again if her registration came before the wish to follow her.
    let ann = ("ann".to_owned(), Shows::Online);
    let mut told = next().await;
    while told == ann {
        told = next().await;
    }
    assert_eq!(told, ("zoe".to_owned(), Shows::Offline), "once the rest is over");
    renewals.abort();
    context.stop.cancel();
}
