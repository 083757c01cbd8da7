//! The role as its callers see it: bound, behind the whole server stack.

use std::{sync::Arc, time::Duration};

use mingle_presence::{Config, bind};
use mingle_proto::presence::v1::{
    ConnectRequest, ConnectResponse, GetRequest, Node, Presence, RegisterNodeRequest,
    RenewNodeRequest, Status as Shows, WatchNode, WatchRequest, WatchResponse, WatchUsers,
    presence_service_client::PresenceServiceClient, watch_request::Action, watch_response::Event,
};
use mingle_runtime::{
    Context,
    config::Section as _,
    grpc::Transport,
    status::{Described, Kind},
};
use mingle_store::{Backends, bus::Memory as Bus, clock::ManualClock, sqlite::Sqlite};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::world::START;

/// Longer than anything that is still to come takes, under paused time.
const QUIET: Duration = Duration::from_millis(600);

/// A client of the role, bound over `backends`, behind the whole server stack.
/// The role's work in the background begins in the runtime of the caller.
pub(crate) async fn serve(
    overrides: &str,
    backends: Backends,
) -> (PresenceServiceClient<Transport>, Context) {
    let context = Context::for_test(&[Config::DEFAULTS], overrides);
    let routes = bind(context.clone(), backends).await.unwrap().into_routes().unwrap();
    (PresenceServiceClient::new(Transport::local(routes)), context)
}

/// The role, its client and its clock. Tokio's time stands still.
pub(crate) struct Role {
    pub(crate) client: PresenceServiceClient<Transport>,
    pub(crate) bus: Arc<Bus>,
    clock: Arc<ManualClock>,
    _context: Context,
    _folder: tempfile::TempDir,
}

impl Role {
    pub(crate) async fn open(overrides: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let bus = Arc::new(Bus::new());
        let database = Sqlite::open(folder.path()).await.unwrap();
        // Not before: the database works in a thread that such time outruns.
        tokio::time::pause();
        let backends = Backends {
            database: database.into(),
            redis: None,
            bus: bus.clone(),
            clock: clock.clone(),
        };
        let (client, context) = serve(overrides, backends).await;
        Self { client, bus, clock, _context: context, _folder: folder }
    }

    /// Moves both times on.
    pub(crate) async fn pass(&self, ms: u32) {
        self.clock.advance(ms.into());
        tokio::time::advance(Duration::from_millis(ms.into())).await;
    }

    /// The same, renewing `node` every second.
    pub(crate) async fn pass_renewing(&mut self, node: &str, ms: u32) {
        for _ in 0..ms / 1_000 {
            self.pass(1_000).await;
            let renewal = RenewNodeRequest { node_id: node.to_owned(), generation: 1 };
            self.client.renew_node(renewal).await.unwrap();
        }
        self.pass(ms % 1_000).await;
    }

    pub(crate) async fn register(&mut self, node_id: &str) {
        let request = RegisterNodeRequest { node: Some(node(node_id)) };
        self.client.register_node(request).await.unwrap();
    }

    pub(crate) async fn connect(
        &mut self,
        node: &str,
        user: &str,
        session: &str,
        generation: u64,
    ) -> ConnectResponse {
        let request = connect(node, user, session, generation);
        self.client.connect(request).await.unwrap().into_inner()
    }

    pub(crate) async fn get(&mut self, user: &str) -> Presence {
        let request = GetRequest { user_id: user.to_owned() };
        self.client.get(request).await.unwrap().into_inner().presence.unwrap()
    }

    pub(crate) async fn watch(&mut self) -> Watch {
        let (requests, receiver) = mpsc::channel(16);
        let answers = self.client.watch(ReceiverStream::new(receiver)).await.unwrap();
        Watch { requests: Some(requests), answers: answers.into_inner() }
    }
}

pub(crate) fn node(node_id: &str) -> Node {
    Node {
        node_id: node_id.to_owned(),
        role: "gateway".to_owned(),
        generation: 1,
        ..Node::default()
    }
}

pub(crate) fn connect(node: &str, user: &str, session: &str, generation: u64) -> ConnectRequest {
    ConnectRequest {
        session_id: session.to_owned(),
        user_id: user.to_owned(),
        node_id: node.to_owned(),
        generation,
        connection_id: format!("{node}/{user}/{session}/{generation}"),
        status: Shows::Online.into(),
    }
}

/// A stream and what it says.
pub(crate) struct Watch {
    requests: Option<mpsc::Sender<WatchRequest>>,
    answers: Streaming<WatchResponse>,
}

impl Watch {
    pub(crate) async fn ask(&self, action: Option<Action>) {
        let requests = self.requests.as_ref().unwrap();
        requests.send(WatchRequest { action }).await.unwrap();
    }

    pub(crate) async fn node(&self, node_id: &str) {
        self.ask(Some(Action::Node(WatchNode { node_id: node_id.to_owned() }))).await;
    }

    pub(crate) async fn add(&self, users: &[&str]) {
        self.ask(Some(Action::Add(these(users)))).await;
    }

    pub(crate) async fn remove(&self, users: &[&str]) {
        self.ask(Some(Action::Remove(these(users)))).await;
    }

    /// Ends the requests.
    pub(crate) fn end(&mut self) {
        self.requests = None;
    }

    /// The next answer; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Status> {
        let answer = timeout(QUIET, self.answers.message()).await.expect("an answer");
        Ok(answer?.map(|answer| answer.event.unwrap()))
    }

    /// The next answer, a presence: who and what.
    pub(crate) async fn presence(&mut self) -> (String, Shows) {
        match self.next().await.unwrap() {
            Some(Event::Presence(presence)) => (presence.user_id.clone(), presence.status()),
            other => panic!("{other:?}"),
        }
    }

    /// Nothing comes.
    pub(crate) async fn quiet(&mut self) {
        if let Ok(answer) = timeout(QUIET, self.answers.message()).await {
            panic!("{answer:?}");
        }
    }
}

fn these(users: &[&str]) -> WatchUsers {
    WatchUsers { user_ids: users.iter().map(|user| (*user).to_owned()).collect() }
}

/// Kind, reason and field of a refusal.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Kind, String, String) {
    let described = Described::from(&result.unwrap_err());
    (described.kind, described.reason, described.field)
}
