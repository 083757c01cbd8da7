//! The role as a store: each method is a call through the whole server stack.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mingle_presence::{
    domain::{Claim, Ended, Node, Presence, Status},
    store::{Connected, Registered, Set, Store, Stored, Totals},
};
use mingle_proto::presence::v1::{self, presence_service_client::PresenceServiceClient};
use mingle_runtime::{Context, grpc::Transport};
use mingle_store::{Backends, Result, clock::ManualClock, sqlite::Sqlite};

use super::{
    apart::Apart,
    heard::Heard,
    translate::{
        FULL, NOT_FOUND, SUPERSEDED, TOO_MANY, failed, node, presence, refused, registration,
        session, shown,
    },
    wire::serve,
    world::{LIMITS, START, TERMS, World},
};

const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// What presence knows, asked by its RPCs.
///
/// No RPC or no field of a reply, and so observed elsewhere:
///
/// - `sweep`: the role's own sweep runs once, by its interval; who changed is
///   what it announces.
/// - `changed` and `lost` of every answer: what the role announces on its bus
///   before it answers. Of several in one answer the order is that of the
///   claims.
/// - the generation in `Registered::Superseded`: what `ListNodes` then says,
///   so only while the lease holds.
pub(crate) struct Through {
    client: PresenceServiceClient<Transport>,
    heard: Arc<Heard>,
    apart: Apart,
    _context: Context,
    _folder: tempfile::TempDir,
}

/// An empty world behind the server stack.
pub(crate) async fn open() -> World {
    let clock = Arc::new(ManualClock::at(START));
    let heard = Arc::new(Heard::default());
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite::open(folder.path()).await.unwrap();
    let backends = Backends {
        database: database.into(),
        redis: None,
        bus: heard.clone(),
        clock: clock.clone(),
    };
    let apart = Apart::new();
    let (client, context) = apart.run(serve(&settings(), backends));
    let store = Arc::new(Through { client, heard, apart, _context: context, _folder: folder });
    World { store, clock, _server: None }
}

/// The terms and bounds of every world, as configuration.
fn settings() -> String {
    let interval = SWEEP_INTERVAL.as_millis();
    let (terms, limits) = (TERMS, LIMITS);
    [
        "[presence]".to_owned(),
        format!("lease_ms = {}", terms.lease_ms),
        format!("grace_ms = {}", terms.grace_ms),
        format!("max_sessions_per_user = {}", terms.max_sessions_per_user),
        format!("max_nodes = {}", limits.max_nodes),
        format!("max_sessions = {}", limits.max_sessions),
        format!("max_last_seen = {}", limits.max_last_seen),
        format!("sweep_users = {}", limits.sweep_users),
        format!("sweep_interval_ms = {interval}"),
    ]
    .join("\n")
}

impl Through {
    fn client(&self) -> PresenceServiceClient<Transport> {
        self.client.clone()
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.heard.assert_nothing_more();
        }
    }
}

#[async_trait]
impl Store for Through {
    async fn register_node(&self, node: Node) -> Result<Registered> {
        let node_id = node.node_id.clone();
        let Err(status) = self.client().register_node(registration(node)).await else {
            return Ok(Registered::Leased);
        };
        if refused(&status, [(SUPERSEDED, false), (FULL, true)])? {
            return Ok(Registered::Full);
        }
        let nodes = self.list_nodes().await?;
        let newer = nodes.into_iter().find(|node| node.node_id == node_id);
        Ok(Registered::Superseded(newer.expect("the newer start").generation))
    }

    async fn renew_node(&self, node_id: &str, generation: u64) -> Result<bool> {
        let request = v1::RenewNodeRequest { node_id: node_id.to_owned(), generation };
        match self.client().renew_node(request).await {
            Ok(_) => Ok(true),
            Err(status) => refused(&status, [(NOT_FOUND, false)]),
        }
    }

    async fn register_sessions(&self, node_id: &str, claims: Vec<Claim>) -> Result<Stored> {
        let sessions = claims.iter().cloned().map(session).collect();
        let request = v1::RegisterSessionsRequest { node_id: node_id.to_owned(), sessions };
        let reply = self.client().register_sessions(request).await;
        let lost = || claims.iter().filter_map(|claim| self.heard.lost(&claim.session_id));
        let users = || claims.iter().map(|claim| claim.user_id.clone());
        let said = || (lost().collect(), users().filter(|user| self.heard.changed(user)).collect());
        let superseded = match reply {
            Ok(reply) => reply.into_inner().superseded_session_ids,
            Err(status) => {
                if !refused(&status, [(NOT_FOUND, false), (FULL, true)])? {
                    return Ok(Stored::UnknownNode);
                }
                let (lost, changed) = said();
                return Ok(Stored::Full { lost, changed });
            }
        };
        let (lost, changed) = said();
        Ok(Stored::Done { superseded, lost, changed })
    }

    async fn connect(&self, node_id: &str, claim: Claim) -> Result<Connected> {
        let v1::Session { session_id, user_id, generation, connection_id, status } =
            session(claim.clone());
        let node_id = node_id.to_owned();
        let request =
            v1::ConnectRequest { session_id, user_id, node_id, generation, connection_id, status };
        let reply = match self.client().connect(request).await {
            Ok(reply) => reply.into_inner(),
            Err(status) => {
                let (unknown, many) = (Connected::UnknownNode, Connected::TooMany);
                let answers = [(NOT_FOUND, unknown), (TOO_MANY, many), (FULL, Connected::Full)];
                return refused(&status, answers);
            }
        };
        if !reply.accepted {
            return Ok(Connected::Held(reply.generation));
        }
        assert_eq!(reply.generation, claim.generation, "the holder is told its own");
        let lost = self.heard.lost(&claim.session_id);
        Ok(Connected::Accepted { lost, changed: self.heard.changed(&claim.user_id) })
    }

    async fn disconnect(&self, user_id: &str, session_id: &str, ended: Ended<'_>) -> Result<bool> {
        let request = v1::DisconnectRequest {
            session_id: session_id.to_owned(),
            user_id: user_id.to_owned(),
            generation: ended.generation,
            connection_id: ended.connection_id.unwrap_or_default().to_owned(),
        };
        self.client().disconnect(request).await.map_err(|status| failed(&status))?;
        Ok(self.heard.changed(user_id))
    }

    async fn set_status(&self, user_id: &str, session_id: &str, status: Status) -> Result<Set> {
        let request = v1::SetStatusRequest {
            session_id: session_id.to_owned(),
            user_id: user_id.to_owned(),
            status: shown(Some(status)).into(),
        };
        match self.client().set_status(request).await {
            Ok(_) => Ok(Set::Done(self.heard.changed(user_id))),
            Err(status) => refused(&status, [(NOT_FOUND, Set::UnknownSession)]),
        }
    }

    /// One user by `Get`, more by `GetMany`.
    async fn get_many(&self, user_ids: &[String]) -> Result<Vec<Presence>> {
        let presences = if let [user_id] = user_ids {
            let request = v1::GetRequest { user_id: user_id.clone() };
            let reply = self.client().get(request).await.map_err(|status| failed(&status))?;
            Vec::from_iter(reply.into_inner().presence)
        } else {
            let request = v1::GetManyRequest { user_ids: user_ids.to_vec() };
            let reply = self.client().get_many(request).await.map_err(|status| failed(&status))?;
            reply.into_inner().presences
        };
        Ok(presences.into_iter().map(presence).collect())
    }

    async fn count(&self) -> Result<Totals> {
        let reply = self.client().count(v1::CountRequest {}).await;
        let v1::CountResponse { users, sessions } =
            reply.map_err(|status| failed(&status))?.into_inner();
        Ok(Totals { users, sessions })
    }

    async fn list_nodes(&self) -> Result<Vec<Node>> {
        let reply = self.client().list_nodes(v1::ListNodesRequest {}).await;
        let nodes = reply.map_err(|status| failed(&status))?.into_inner().nodes;
        Ok(nodes.into_iter().map(node).collect())
    }

    async fn sweep(&self) -> Result<Vec<String>> {
        self.apart.pass(SWEEP_INTERVAL);
        Ok(self.heard.all_changed())
    }
}
