//! The RPCs.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use mingle_proto::presence::v1::{self, presence_service_server::PresenceService};
use mingle_runtime::{
    Role,
    grpc::{degraded::DEGRADED, sight::Sight},
};
use mingle_store::bus::{Announcement, Bus};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};
use tracing::Instrument as _;

use super::{topics, watch};
use crate::{
    domain::{self, Lost},
    error::Error,
    store::{Connected, Registered, Set, Store, Stored},
    wire,
};

/// Announcements that go to the bus at once.
const MAX_BATCH: usize = 256;

/// Who is online.
#[derive(Clone)]
pub(crate) struct Service {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    lease_ms: u32,
    renew_ms: u32,
    max_watched_users: usize,
    tasks: TaskTracker,
    sight: Sight,
}

impl Service {
    /// A service over its backends, whose calls are among `tasks`.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        config: &crate::Config,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            store,
            bus,
            tasks,
            sight: Sight::new(Role::Presence.name()),
            lease_ms: config.lease_ms,
            renew_ms: config.renew_ms,
            max_watched_users: config.max_watched_users,
        }
    }

    /// One sweep: finds what time changed and announces it.
    pub(crate) async fn sweep(&self) -> Result<(), Error> {
        let lost = self.store.lost().await?;
        self.announce(lost, Vec::new()).await;
        let changed = self.store.sweep().await?;
        self.announce(Vec::new(), changed).await;
        Ok(())
    }

    /// Keeps in mind, until `stop`, whether it is seen here who changes: what
    /// others announce is heard, and the users can be read.
    pub(crate) async fn keep_sight(self, stop: CancellationToken) {
        let sees = || std::future::ready(self.store.is_reached() && self.bus.is_heard());
        self.sight.clone().keep(stop, sees).await;
    }

    /// How long the last sweep is enough for.
    pub(crate) fn pause(&self) -> Duration {
        self.store.pause()
    }

    /// Does all of `work`, also when the caller goes away meanwhile: what it
    /// changed nobody else would announce. Each call of the store has an end.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.tasks.spawn(work.in_current_span()).await;
        done.unwrap_or_else(|_| {
            let kind = mingle_store::ErrorKind::Unavailable;
            Err(mingle_store::Error::new(kind, "presence: the process ends").into())
        })
    }

    async fn register_all(&self, all: wire::Claims) -> Result<Vec<String>, Error> {
        match self.store.register_sessions(&all.node_id, all.claims).await? {
            Stored::Done { superseded, lost, changed } => {
                self.announce(lost, changed).await;
                Ok(superseded)
            }
            Stored::UnknownNode => Err(Error::UnknownNode),
            Stored::Full { lost, changed } => {
                self.announce(lost, changed).await;
                Err(Error::Full("sessions"))
            }
        }
    }

    async fn connect_one(&self, socket: wire::Socket) -> Result<v1::ConnectResponse, Error> {
        let (user_id, generation) = (socket.claim.user_id.clone(), socket.claim.generation);
        let (accepted, generation) = match self.store.connect(&socket.node_id, socket.claim).await?
        {
            Connected::Accepted { lost, changed } => {
                let changed = if changed { vec![user_id] } else { Vec::new() };
                self.announce(lost.into_iter().collect(), changed).await;
                (true, generation)
            }
            Connected::Held(generation) => (false, generation),
            Connected::UnknownNode => return Err(Error::UnknownNode),
            Connected::TooMany => return Err(Error::TooManyConnections),
            Connected::Full => return Err(Error::Full("sessions")),
        };
        Ok(v1::ConnectResponse { accepted, generation })
    }

    /// Tells the bus who changed and who lost a session. What cannot be told
    /// is a gap to its subscribers, who then read.
    async fn announce(&self, lost: Vec<Lost>, changed: Vec<String>) {
        let lost = lost.into_iter().map(|lost| {
            let topic = topics::of_node(&lost.node_id);
            (topic, topics::superseded(&wire::superseded(lost)))
        });
        let all = lost.chain(topics::announcements(changed));
        let all: Vec<_> = all.map(|(topic, payload)| Announcement::new(topic, payload)).collect();
        for batch in all.chunks(MAX_BATCH) {
            if let Err(error) = self.bus.publish(batch).await {
                tracing::warn!(%error, announcements = batch.len(), "may be lost");
            }
        }
    }

    async fn read_one(&self, user_id: String) -> Result<v1::Presence, Error> {
        let mut found = self.store.get_many(std::slice::from_ref(&user_id)).await?;
        // A store answers each user asked for; an unseen one is offline.
        let unseen = domain::Presence {
            user_id,
            status: None,
            unknown: false,
            unreadable: false,
            last_seen: None,
            sessions: 0,
        };
        Ok(wire::presence(found.pop().unwrap_or(unseen)))
    }
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PresenceService for Service {
    async fn register_node(
        &self,
        request: Request<v1::RegisterNodeRequest>,
    ) -> Reply<v1::RegisterNodeResponse> {
        let wire::Registration(node) = request.into_inner().try_into().map_err(Error::from)?;
        match self.store.register_node(node).await.map_err(Error::from)? {
            Registered::Leased => {}
            Registered::Superseded(generation) => {
                return Err(Error::NodeSuperseded(generation).into());
            }
            Registered::Full => return Err(Error::Full("nodes").into()),
        }
        let (lease_ms, renew_ms) = (self.lease_ms, self.renew_ms);
        Ok(Response::new(v1::RegisterNodeResponse { lease_ms, renew_ms }))
    }

    async fn renew_node(
        &self,
        request: Request<v1::RenewNodeRequest>,
    ) -> Reply<v1::RenewNodeResponse> {
        let renewal: wire::Renewal = request.into_inner().try_into().map_err(Error::from)?;
        let renewed = self.store.renew_node(&renewal.node_id, renewal.generation).await;
        if !renewed.map_err(Error::from)? {
            return Err(Error::UnknownNode.into());
        }
        Ok(Response::new(v1::RenewNodeResponse {}))
    }

    async fn register_sessions(
        &self,
        request: Request<v1::RegisterSessionsRequest>,
    ) -> Reply<v1::RegisterSessionsResponse> {
        let all: wire::Claims = request.into_inner().try_into().map_err(Error::from)?;
        let service = self.clone();
        let superseded = self.whole(async move { service.register_all(all).await }).await?;
        let superseded_session_ids = superseded;
        Ok(Response::new(v1::RegisterSessionsResponse { superseded_session_ids }))
    }

    async fn connect(&self, request: Request<v1::ConnectRequest>) -> Reply<v1::ConnectResponse> {
        let socket: wire::Socket = request.into_inner().try_into().map_err(Error::from)?;
        let service = self.clone();
        let connected = self.whole(async move { service.connect_one(socket).await });
        Ok(Response::new(connected.await?))
    }

    async fn disconnect(
        &self,
        request: Request<v1::DisconnectRequest>,
    ) -> Reply<v1::DisconnectResponse> {
        let target: wire::Target<wire::Ending> =
            request.into_inner().try_into().map_err(Error::from)?;
        let wire::Target { user_id, session_id, what: socket } = target;
        let service = self.clone();
        let closed = self.whole(async move {
            if service.store.disconnect(&user_id, &session_id, socket.ended()).await? {
                service.announce(Vec::new(), vec![user_id]).await;
            }
            Ok(())
        });
        closed.await?;
        Ok(Response::new(v1::DisconnectResponse {}))
    }

    async fn set_status(
        &self,
        request: Request<v1::SetStatusRequest>,
    ) -> Reply<v1::SetStatusResponse> {
        let target: wire::Target<_> = request.into_inner().try_into().map_err(Error::from)?;
        let wire::Target { user_id, session_id, what: status } = target;
        let service = self.clone();
        let set = self.whole(async move {
            match service.store.set_status(&user_id, &session_id, status).await? {
                Set::UnknownSession => return Err(Error::UnknownSession),
                Set::Done(true) => service.announce(Vec::new(), vec![user_id]).await,
                Set::Done(false) => {}
            }
            Ok(())
        });
        set.await?;
        Ok(Response::new(v1::SetStatusResponse {}))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Reply<v1::GetResponse> {
        let user_id = wire::user(request.into_inner().user_id).map_err(Error::from)?;
        let presence = Some(self.read_one(user_id).await?);
        Ok(Response::new(v1::GetResponse { presence }))
    }

    async fn get_many(&self, request: Request<v1::GetManyRequest>) -> Reply<v1::GetManyResponse> {
        let asked = wire::users("user_ids", request.into_inner().user_ids);
        let read = self.store.get_many(&asked.map_err(Error::from)?).await;
        let read = read.map_err(Error::from)?;
        let is_in_doubt = read.iter().any(domain::Presence::is_in_doubt);
        let presences = read.into_iter().map(wire::presence).collect();
        let mut response = Response::new(v1::GetManyResponse { presences });
        if is_in_doubt {
            // At once, and not only when the backend is known to be away: whoever
            // asks may ask another instance.
            let mark = MetadataValue::from_static("presence");
            response.metadata_mut().insert(DEGRADED, mark);
        }
        Ok(response)
    }

    async fn count(&self, _request: Request<v1::CountRequest>) -> Reply<v1::CountResponse> {
        let totals = self.store.count().await.map_err(Error::from)?;
        Ok(Response::new(v1::CountResponse { users: totals.users, sessions: totals.sessions }))
    }

    async fn list_nodes(
        &self,
        _request: Request<v1::ListNodesRequest>,
    ) -> Reply<v1::ListNodesResponse> {
        let nodes = self.store.list_nodes().await.map_err(Error::from)?;
        let nodes = nodes.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListNodesResponse { nodes }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<v1::WatchRequest>>,
    ) -> Reply<Self::WatchStream> {
        let (store, bus) = (self.store.clone(), self.bus.clone());
        let max_users = self.max_watched_users;
        let open = || watch::open(store, bus, max_users, request.into_inner());
        Ok(Response::new(Box::pin(self.sight.watch(open)?)))
    }
}
