//! The sessions that this node holds, and the users its sockets watch.
//!
//! Presence may be away: sockets are served all the same, marked degraded,
//! and their sessions are registered when it is back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dashmap::DashMap;
use mingle_client::close::Close;
use mingle_proto::{
    gateway::v1::server_frame::Kind as FrameKind,
    presence::v1::{
        self as pr, presence_service_client::PresenceServiceClient, watch_request::Action,
        watch_response,
    },
};
use mingle_runtime::{Context, Role, grpc::Transport, status::Kind};
use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming};

use super::{
    link::{Feed, Follow},
    sockets::Sockets,
};
use crate::{
    fault::Fault,
    outbox::{Closing, Entry, Event, Outbox},
    translate,
};

/// Sessions registered, and users added, in one request.
const CHUNK: usize = 500;
/// Presence answers within this time or the socket goes on without it.
const DEADLINE: Duration = Duration::from_secs(2);
/// Renew this often until the service says otherwise.
const RENEW: Duration = Duration::from_secs(3);
/// Rivals for one session in one hello: each takes a generation.
const ATTEMPTS: usize = 8;
const DEGRADED: &str = "presence";

/// A session and the socket that holds it.
struct Held {
    socket: u64,
    session: pr::Session,
}

/// See the module.
pub(crate) struct People {
    node: pr::Node,
    client: PresenceServiceClient<Transport>,
    sockets: Arc<Sockets>,
    sessions: DashMap<Arc<str>, Held>,
    watched: DashMap<Arc<str>, Vec<(u64, Arc<Outbox>)>>,
    requests: mpsc::Sender<pr::WatchRequest>,
    health: mingle_runtime::health::Health,
    /// Sessions are held that presence was never told of.
    unregistered: AtomicBool,
}

impl People {
    /// The people of this gateway process; `requests` feeds the link.
    pub(crate) fn new(
        ctx: &Context,
        started_ms: i64,
        sockets: Arc<Sockets>,
        requests: mpsc::Sender<pr::WatchRequest>,
    ) -> Self {
        let node = pr::Node {
            node_id: ctx.node_id.to_string(),
            role: Role::Gateway.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: String::new(),
            generation: u64::try_from(started_ms).unwrap_or(1).max(1),
        };
        Self {
            node,
            client: PresenceServiceClient::new(ctx.peers.get(Role::Presence)),
            sockets,
            sessions: DashMap::new(),
            watched: DashMap::new(),
            requests,
            health: ctx.health.clone(),
            unregistered: AtomicBool::new(false),
        }
    }

    /// Makes `socket` the holder of the session at the next free generation
    /// from `generation` on, and returns that.
    ///
    /// **Errors**: RESOURCE_EXHAUSTED when the user has as many connections
    /// as they may. Without presence the socket is accepted: it is registered
    /// later.
    pub(crate) async fn connect(
        &self,
        socket: u64,
        mut session: pr::Session,
    ) -> Result<u64, Fault> {
        for _ in 0..ATTEMPTS {
            match self.call_connect(&session).await {
                Ok(answer) if answer.accepted => break,
                Ok(answer) => session.generation = answer.generation + 1,
                // The next renewal registers the node and all it holds.
                Err(fault) if is_away(&fault) => {
                    self.unregistered.store(true, Ordering::Relaxed);
                    break;
                }
                Err(fault) => return Err(fault),
            }
        }
        let generation = session.generation;
        let id: Arc<str> = session.session_id.as_str().into();
        let previous = self.sessions.insert(id, Held { socket, session });
        if let Some(previous) = previous.filter(|previous| previous.socket != socket) {
            self.sockets.close(previous.socket, superseded());
        }
        Ok(generation)
    }

    async fn call_connect(&self, session: &pr::Session) -> Result<pr::ConnectResponse, Fault> {
        let mut request = Request::new(pr::ConnectRequest {
            session_id: session.session_id.clone(),
            user_id: session.user_id.clone(),
            node_id: self.node.node_id.clone(),
            generation: session.generation,
            connection_id: session.connection_id.clone(),
            status: session.status,
        });
        request.set_timeout(DEADLINE);
        Ok(self.client.clone().connect(request).await?.into_inner())
    }

    /// The socket is closed; its session goes into grace unless another socket
    /// holds it.
    pub(crate) async fn disconnect(&self, socket: u64, session_id: &str) {
        let held = self.sessions.remove_if(session_id, |_, held| held.socket == socket);
        let Some((_, Held { session, .. })) = held else { return };
        let mut request = Request::new(pr::DisconnectRequest {
            session_id: session.session_id,
            user_id: session.user_id,
            generation: session.generation,
        });
        request.set_timeout(DEADLINE);
        // Not heard, the session ends with this node's next registration.
        let _ = self.client.clone().disconnect(request).await;
    }

    /// Shows `status` for the session.
    pub(crate) async fn set_status(
        &self,
        session_id: &str,
        user_id: &str,
        status: pr::Status,
    ) -> Result<(), Fault> {
        let request = pr::SetStatusRequest {
            session_id: session_id.to_owned(),
            user_id: user_id.to_owned(),
            status: status.into(),
        };
        self.client.clone().set_status(request).await?;
        if let Some(mut held) = self.sessions.get_mut(session_id) {
            held.session.status = status.into();
        }
        Ok(())
    }

    /// Reads users' presence; UNKNOWN for all while presence is away.
    pub(crate) async fn read(&self, user_ids: Vec<String>) -> Result<Vec<pr::Presence>, Fault> {
        let mut request = Request::new(pr::GetManyRequest { user_ids: user_ids.clone() });
        request.set_timeout(DEADLINE);
        match self.client.clone().get_many(request).await.map_err(Fault::from) {
            Ok(answer) => Ok(answer.into_inner().presences),
            Err(fault) if fault.kind.is_transient() => {
                let unknown = |user_id| pr::Presence {
                    user_id,
                    status: pr::Status::Unknown.into(),
                    ..Default::default()
                };
                Ok(user_ids.into_iter().map(unknown).collect())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Counts who is online everywhere.
    pub(crate) async fn count(&self) -> Result<pr::CountResponse, Fault> {
        Ok(self.client.clone().count(pr::CountRequest {}).await?.into_inner())
    }

    /// Watches users on behalf of a socket; each is told once with its present
    /// state and then with each change.
    pub(crate) async fn watch(&self, socket: u64, outbox: &Arc<Outbox>, users: &[Arc<str>]) {
        for user in users {
            let mut watchers = self.watched.entry(user.clone()).or_default();
            watchers.retain(|(other, _)| *other != socket);
            watchers.push((socket, outbox.clone()));
        }
        for chunk in users.chunks(CHUNK) {
            let request = pr::WatchRequest { action: Some(Action::Add(ids(chunk))) };
            // The link is gone only when the gateway stops.
            let _ = self.requests.send(request).await;
        }
    }

    /// No longer watches users on behalf of a socket.
    pub(crate) fn unwatch(&self, socket: u64, users: &[Arc<str>]) {
        let mut unwatched = Vec::new();
        for user in users {
            let emptied = self.watched.remove_if_mut(user, |_, watchers| {
                watchers.retain(|(other, _)| *other != socket);
                watchers.is_empty()
            });
            unwatched.extend(emptied.map(|(user, _)| user));
        }
        for chunk in unwatched.chunks(CHUNK) {
            // A full queue leaves them watched until the next stream.
            let request = pr::WatchRequest { action: Some(Action::Remove(ids(chunk))) };
            let _ = self.requests.try_send(request);
        }
    }

    /// Registers the node and renews its lease until the role stops.
    pub(crate) async fn keep_alive(self: Arc<Self>, ctx: Context) {
        self.unregistered.store(true, Ordering::Relaxed);
        let mut renew = RENEW;
        loop {
            let outcome = if self.unregistered.load(Ordering::Relaxed) {
                self.register().await.map(|every| renew = every)
            } else {
                self.renew().await
            };
            self.health.set_degraded(DEGRADED, outcome.is_err());
            if let Err(fault) = outcome {
                tracing::debug!(?fault, "presence does not know this node");
                self.unregistered.store(true, Ordering::Relaxed);
            }
            tokio::select! {
                () = tokio::time::sleep(renew) => {}
                () = ctx.stop.cancelled() => return,
            }
        }
    }

    async fn renew(&self) -> Result<(), Fault> {
        let (node_id, generation) = (self.node.node_id.clone(), self.node.generation);
        let mut request = Request::new(pr::RenewNodeRequest { node_id, generation });
        request.set_timeout(DEADLINE);
        self.client.clone().renew_node(request).await?;
        Ok(())
    }

    /// Registers the node and everything it holds; answers how often to renew.
    async fn register(&self) -> Result<Duration, Fault> {
        let mut request = Request::new(pr::RegisterNodeRequest { node: Some(self.node.clone()) });
        request.set_timeout(DEADLINE);
        let answer = self.client.clone().register_node(request).await?.into_inner();
        self.unregistered.store(false, Ordering::Relaxed);
        let held: Vec<_> = self.sessions.iter().map(|held| held.session.clone()).collect();
        for sessions in held.chunks(CHUNK) {
            let registered = self.register_sessions(sessions.to_vec()).await;
            if registered.is_err() {
                self.unregistered.store(true, Ordering::Relaxed);
            }
            for session in registered? {
                self.supersede(&session, |_| true);
            }
        }
        Ok(Duration::from_millis(answer.renew_ms.max(100).into()))
    }

    async fn register_sessions(&self, sessions: Vec<pr::Session>) -> Result<Vec<String>, Fault> {
        let node_id = self.node.node_id.clone();
        let mut request = Request::new(pr::RegisterSessionsRequest { node_id, sessions });
        request.set_timeout(DEADLINE);
        let answer = self.client.clone().register_sessions(request).await?;
        Ok(answer.into_inner().superseded_session_ids)
    }

    /// Closes the socket of a session that another one took, if `lost` says
    /// that it is the one that lost.
    fn supersede(&self, session_id: &str, lost: impl Fn(&pr::Session) -> bool) {
        let gone = self.sessions.remove_if(session_id, |_, held| lost(&held.session));
        if let Some((_, held)) = gone {
            self.sockets.close(held.socket, superseded());
        }
    }
}

/// Presence does not answer, or has lost its memory of this node.
fn is_away(fault: &Fault) -> bool {
    matches!(fault.kind, Kind::Unavailable | Kind::Timeout | Kind::NotFound)
}

fn superseded() -> Closing {
    Closing { close: Close::Superseded, retry_after_ms: 0 }
}

fn ids(users: &[Arc<str>]) -> pr::WatchUsers {
    pr::WatchUsers { user_ids: users.iter().map(ToString::to_string).collect() }
}

#[async_trait]
impl Follow for People {
    type Request = pr::WatchRequest;
    type Response = pr::WatchResponse;

    async fn open(
        &self,
        feed: Feed<pr::WatchRequest>,
    ) -> Result<Streaming<pr::WatchResponse>, Status> {
        let stream = self.client.clone().watch(feed).await?.into_inner();
        // Sessions that were superseded meanwhile are named by the answer.
        self.unregistered.store(true, Ordering::Relaxed);
        Ok(stream)
    }

    fn everything(&self) -> Vec<pr::WatchRequest> {
        let node = pr::WatchNode { node_id: self.node.node_id.clone() };
        let users: Vec<_> = self.watched.iter().map(|entry| entry.key().clone()).collect();
        let add = users.chunks(CHUNK).map(|chunk| Action::Add(ids(chunk)));
        let actions = std::iter::once(Action::Node(node)).chain(add);
        actions.map(|action| pr::WatchRequest { action: Some(action) }).collect()
    }

    async fn take(&self, response: pr::WatchResponse) {
        match response.event {
            Some(watch_response::Event::Presence(presence)) => {
                let Some(watchers) = self.watched.get(presence.user_id.as_str()) else { return };
                let event = Event::new(FrameKind::Presence(translate::presence(presence)));
                for (_, outbox) in watchers.iter() {
                    outbox.push(Entry::Event(event.clone()));
                }
            }
            Some(watch_response::Event::Superseded(lost)) => {
                self.supersede(&lost.session_id, |held| held.connection_id == lost.connection_id);
            }
            // The present states follow by themselves; who was superseded is
            // asked for.
            Some(watch_response::Event::Gap(_)) => {
                self.unregistered.store(true, Ordering::Relaxed);
            }
            None => {}
        }
    }

    fn name(&self) -> &'static str {
        "presence"
    }
}
