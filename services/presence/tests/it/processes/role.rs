//! The role where the process has a Redis.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use mingle_presence::{Config, bind};
use mingle_proto::presence::v1::{
    ConnectResponse, GetRequest, RegisterNodeRequest, Status as Shows, WatchRequest, WatchUsers,
    presence_service_client::PresenceServiceClient, watch_request::Action, watch_response::Event,
};
use mingle_runtime::{Context, config::Section as _, grpc::Transport};
use mingle_store::{Backends, bus::Memory as Bus, clock::ManualClock, sqlite::Sqlite};
use mingle_testkit::eventually;
use tokio::time::timeout;
use tonic::Code;

use super::{Processes, ROOMY};
use crate::harness::{
    servers::SOON,
    wire::{connect, node, serve},
    world::START,
};

/// Two roles over one Redis: what one is told the other tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_roles_tell_of_the_same_users() {
    let processes = Processes::start(2, ROOMY).await;
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite::open(folder.path()).await.unwrap();
    let bus = Arc::new(Bus::new());
    let (mut clients, mut contexts) = (Vec::new(), Vec::new());
    for redis in &processes.connections {
        let context = Context::for_test(&[Config::DEFAULTS], "");
        let backends = Backends {
            database: database.clone().into(),
            redis: Some(redis.clone()),
            bus: bus.clone(),
            // Not that of the store, which has the server's.
            clock: Arc::new(ManualClock::at(START / 2)),
        };
        let routes = bind(context.clone(), backends).await.unwrap().into_routes().unwrap();
        clients.push(PresenceServiceClient::new(Transport::local(routes)));
        contexts.push(context);
    }
    let mut other = clients.pop().unwrap();
    let mut one = clients.pop().unwrap();

    let requests = follow("ann");
    let mut answers = other.watch(requests).await.unwrap().into_inner();
    let mut next = async || {
        let answer = timeout(SOON, answers.message()).await.expect("an answer");
        match answer.unwrap().unwrap().event {
            Some(Event::Presence(presence)) => (presence.user_id.clone(), presence.status()),
            event => panic!("{event:?}"),
        }
    };
    assert_eq!(next().await, ("ann".to_owned(), Shows::Offline));
    one.register_node(RegisterNodeRequest { node: Some(node("a")) }).await.unwrap();
    let connected = one.connect(connect("a", "ann", "s", 1)).await.unwrap().into_inner();
    assert_eq!(connected, ConnectResponse { accepted: true, generation: 1 });
    assert_eq!(next().await, ("ann".to_owned(), Shows::Online));
    let ann = other.get(GetRequest { user_id: "ann".to_owned() }).await.unwrap().into_inner();
    assert_eq!(ann.presence.unwrap().sessions, 1);

    // Whichever role sweeps announces what time changed.
    processes.clock.advance(14_000);
    assert_eq!(next().await, ("ann".to_owned(), Shows::Offline));
    drop(contexts);
}

/// A stream stays where it was opened: one that tells nothing any more, because
/// this process is cut off, must end, so that another can be asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_its_redis_ends_its_streams_and_opens_none() {
    let processes = Processes::start(1, ROOMY).await;
    let folder = tempfile::tempdir().unwrap();
    let backends = Backends {
        database: Sqlite::open(folder.path()).await.unwrap().into(),
        redis: Some(processes.connections[0].clone()),
        bus: Arc::new(Bus::new()),
        clock: Arc::new(ManualClock::at(START)),
    };
    let (mut client, context) = serve("", backends).await;
    let mut answers = client.watch(follow("ann")).await.unwrap().into_inner();
    timeout(SOON, answers.message()).await.expect("the state").unwrap().unwrap();
    processes.server.kill();
    let end = timeout(SOON, answers.message()).await.expect("the end").unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(client.watch(follow("ann")).await.unwrap_err().code(), Code::Unavailable);
    processes.server.restart().await;
    eventually(SOON, "a stream", async || client.clone().watch(follow("ann")).await.is_ok()).await;
    drop(context);
}

/// Requests that never end, since the stream would, too.
fn follow(user: &str) -> impl Stream<Item = WatchRequest> + Send + 'static {
    let action = Action::Add(WatchUsers { user_ids: vec![user.to_owned()] });
    stream::iter([WatchRequest { action: Some(action) }]).chain(stream::pending())
}
