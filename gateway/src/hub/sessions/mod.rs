//! The node that this process is to presence, and the sessions it holds.
//!
//! Presence may be away: sockets are served all the same, marked degraded,
//! and their sessions are registered when it is back.

mod ends;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use mingle_client::close::Close;
use mingle_proto::{
    errors::v1::Reason,
    presence::v1::{self as pr, presence_service_client::PresenceServiceClient},
};
use mingle_runtime::{
    Context, Role,
    grpc::Transport,
    status::{Kind, short},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior},
};
use tonic::Request;

use self::ends::{End, Ends, LATE};
use super::sockets::Sockets;
use crate::{fault::Fault, outbox::Closing, turns::Turns};

/// Sessions registered in one request.
const CHUNK: usize = 500;
/// Presence answers within this time or the socket goes on without it.
const DEADLINE: Duration = Duration::from_secs(2);
/// Renew this often until the service says otherwise.
const RENEW: Duration = Duration::from_secs(1);
/// Rivals for one session in one hello: each takes a generation.
const ATTEMPTS: usize = 8;
/// Ends that are told again at once.
const MAX_AT_ONCE: usize = 100;
/// Ends that are told at once. A network that breaks ends thousands: presence
/// would shed most of them, and users who are gone would be shown online until
/// they were told again.
const ENDS: usize = 256;

/// A socket that holds a session, or is about to.
struct Held {
    socket: u64,
    /// Its generation is 0 until it is granted.
    session: pr::Session,
    /// When no claim of it without an answer is done any more.
    settles: Instant,
}

impl Held {
    fn end(&self) -> End {
        End::new(&self.session, self.settles)
    }
}

/// See the module.
pub(crate) struct Sessions {
    node_id: String,
    /// Which start of the node this is: it grows when too much ended unheard.
    start: AtomicU64,
    client: PresenceServiceClient<Transport>,
    sockets: Arc<Sockets>,
    held: DashMap<Arc<str>, Vec<Held>>,
    unheard: Ends,
    /// Whoever tells them again is the only one.
    retelling: Semaphore,
    /// Ends of sessions that are being told.
    ends: Turns,
    /// Something is held that presence may not know of.
    unregistered: AtomicBool,
}

impl Sessions {
    /// The sessions of this gateway process.
    pub(crate) fn new(ctx: &Context, started_ms: i64, sockets: Arc<Sockets>) -> Self {
        Self {
            node_id: ctx.node_id.to_string(),
            start: u64::try_from(started_ms).unwrap_or(1).max(1).into(),
            client: PresenceServiceClient::new(ctx.peers.get(Role::Presence)),
            sockets,
            held: DashMap::new(),
            unheard: Ends::default(),
            retelling: Semaphore::new(1),
            ends: Turns::new(ENDS, "mingle_gateway_session_ends"),
            unregistered: AtomicBool::new(true),
        }
    }

    /// This process, to presence.
    pub(crate) fn node_id(&self) -> &str {
        &self.node_id
    }

    fn node(&self) -> pr::Node {
        pr::Node {
            node_id: self.node_id.clone(),
            role: Role::Gateway.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: String::new(),
            generation: self.start.load(Ordering::Relaxed),
        }
    }

    /// Presence may have missed something of ours, or we of its.
    pub(crate) fn doubt(&self) {
        self.unregistered.store(true, Ordering::Relaxed);
    }

    /// Makes `socket` the holder of the session at the next free generation
    /// from `generation` on, and returns that; earlier holders here are closed.
    ///
    /// **Errors**: RESOURCE_EXHAUSTED when the user has as many connections
    /// as they may. Without presence the socket is accepted: it is registered
    /// later.
    pub(crate) async fn connect(&self, socket: u64, session: pr::Session) -> Result<u64, Fault> {
        let id: Arc<str> = session.session_id.as_str().into();
        // Held before it is granted, so that a rival's success finds it.
        let pending = pr::Session { generation: 0, ..session.clone() };
        let held = Held { socket, session: pending, settles: Instant::now() };
        self.held.entry(id.clone()).or_default().push(held);
        match self.claim(socket, session).await {
            Ok((generation, is_known)) => {
                let beaten = self.grant(&id, socket, (generation, is_known));
                if !is_known {
                    // It knows nothing of whom they lost to.
                    self.unheard.keep(beaten.iter().map(Held::end));
                    self.doubt();
                }
                Ok(generation)
            }
            Err(fault) => {
                self.remove(&id, |held| held.socket == socket);
                Err(fault)
            }
        }
    }

    /// The generation that was granted, and whether presence did so. Without its
    /// answer another socket of the session may hold the same one: the later hello
    /// stays, once presence hears of both.
    async fn claim(&self, socket: u64, mut session: pr::Session) -> Result<(u64, bool), Fault> {
        for _ in 0..ATTEMPTS {
            // Whoever has left, and is back elsewhere, does not lose to themselves.
            if self.sockets.has_ended(socket) {
                let message = "the socket ended before its hello was answered";
                return Err(Fault::new(Kind::Unavailable, Reason::Unavailable, message).retry());
            }
            match self.call_connect(&session).await {
                Ok(answer) if answer.accepted => return Ok((session.generation, true)),
                Ok(answer) => session.generation = answer.generation + 1,
                // The next renewal registers the node and all it holds.
                Err(fault) if is_away(&fault) => return Ok((session.generation, false)),
                Err(fault) => return Err(fault),
            }
        }
        let message = "other sockets take the session as fast";
        Err(Fault::new(Kind::Unavailable, Reason::Unavailable, message).retry())
    }

    /// Notes the generation of `socket`, and whether presence knows of it; of
    /// several holders the newest stays, the others are closed and answered.
    fn grant(&self, id: &str, socket: u64, (generation, is_known): (u64, bool)) -> Vec<Held> {
        let Some(mut holders) = self.held.get_mut(id) else { return Vec::new() };
        for held in holders.iter_mut().filter(|held| held.socket == socket) {
            held.session.generation = generation;
            if !is_known {
                held.settles = Instant::now() + LATE;
            }
        }
        // Two sockets may have the same: the later hello stays, as with presence.
        let rank = |held: &Held| (held.session.generation, held.session.connection_id.clone());
        let newest = holders.iter().map(rank).max();
        let is_beaten = |held: &Held| held.session.generation > 0 && Some(rank(held)) < newest;
        let beaten: Vec<_> = holders.extract_if(.., |held| is_beaten(held)).collect();
        drop(holders);
        for held in &beaten {
            self.sockets.close(held.socket, superseded());
        }
        beaten
    }

    async fn call_connect(&self, session: &pr::Session) -> Result<pr::ConnectResponse, Fault> {
        let request = self.bounded(pr::ConnectRequest {
            session_id: session.session_id.clone(),
            user_id: session.user_id.clone(),
            node_id: self.node_id.clone(),
            generation: session.generation,
            connection_id: session.connection_id.clone(),
            status: session.status,
        });
        Ok(self.client.clone().connect(request).await?.into_inner())
    }

    fn bounded<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(DEADLINE);
        request
    }

    /// The socket is closed: its session goes into grace. Another
    /// socket's is not touched: generation and connection tell them apart.
    pub(crate) async fn disconnect(&self, socket: u64, session_id: &str) {
        for held in self.remove(session_id, |held| held.socket == socket) {
            self.end(held.end()).await;
        }
    }

    /// False when presence did not hear of it. What it heard too soon is told
    /// again.
    async fn end(&self, end: End) -> bool {
        let _turn = self.ends.turn().await;
        let is_settled = end.settles <= Instant::now();
        let call = self.bounded(end.request.clone());
        let is_heard = self.client.clone().disconnect(call).await.is_ok();
        if !is_heard || !is_settled {
            self.unheard.keep([end]);
        }
        is_heard
    }

    /// Says what was not heard, a few at a time, until all is or presence is
    /// away again.
    async fn retell(self: Arc<Self>) {
        let Ok(_only) = self.retelling.try_acquire() else { return };
        loop {
            let few = self.unheard.take(MAX_AT_ONCE);
            let told = futures::future::join_all(few.into_iter().map(|it| self.end(it))).await;
            if told.is_empty() || told.contains(&false) {
                return;
            }
        }
    }

    /// Shows `status` for the session: at once, or with its registration when
    /// presence does not know it yet.
    pub(crate) async fn set_status(
        &self,
        session_id: &str,
        user_id: &str,
        status: pr::Status,
    ) -> Result<(), Fault> {
        if let Some(mut holders) = self.held.get_mut(session_id) {
            holders.iter_mut().for_each(|held| held.session.status = status.into());
        }
        let request = self.bounded(pr::SetStatusRequest {
            session_id: session_id.to_owned(),
            user_id: user_id.to_owned(),
            status: status.into(),
        });
        match self.client.clone().set_status(request).await.map_err(Fault::from) {
            Err(fault) if fault.reason == short(Reason::SessionNotFound) => {
                self.doubt();
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Registers the node before the first socket comes, so that its session is
    /// counted; where presence is away that is left to [`Sessions::keep_alive`].
    pub(crate) async fn introduce(&self) {
        if let Err(fault) = self.register().await {
            tracing::warn!(reason = fault.reason, "presence does not know this gateway yet");
        }
    }

    /// Registers the node and renews its lease until the role stops.
    pub(crate) async fn keep_alive(self: Arc<Self>, ctx: Context) {
        let mut tick = tokio::time::interval(RENEW);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = ctx.stop.cancelled() => return,
            }
            let outcome = self.renew().await;
            if outcome.is_ok() {
                // Behind thousands of ends it waits long: the lease does not.
                ctx.tasks.spawn(self.clone().retell());
            }
            match outcome {
                Ok(Some(every)) if every != tick.period() => {
                    tick = tokio::time::interval_at(Instant::now() + every, every);
                    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                }
                Ok(_) => {}
                Err(fault) => {
                    tracing::debug!(?fault, "presence does not know this node");
                    self.doubt();
                }
            }
        }
    }

    /// Renews the lease, or registers everything when in doubt. Answers how
    /// often to renew, if it was told.
    async fn renew(&self) -> Result<Option<Duration>, Fault> {
        if self.unheard.ask_anew() {
            self.start.fetch_add(1, Ordering::Relaxed);
            self.doubt();
        }
        if self.unregistered.swap(false, Ordering::Relaxed) {
            return Ok(Some(self.register().await?));
        }
        self.renew_node().await?;
        Ok(None)
    }

    async fn renew_node(&self) -> Result<(), Fault> {
        let generation = self.start.load(Ordering::Relaxed);
        let request = pr::RenewNodeRequest { node_id: self.node_id.clone(), generation };
        self.client.clone().renew_node(self.bounded(request)).await?;
        Ok(())
    }

    async fn register(&self) -> Result<Duration, Fault> {
        let request = self.bounded(pr::RegisterNodeRequest { node: Some(self.node()) });
        let answer = self.client.clone().register_node(request).await?.into_inner();
        let every = Duration::from_millis(answer.renew_ms.max(100).into());
        // Many sessions take longer than the lease lasts.
        let renewals = async {
            let mut tick = tokio::time::interval_at(Instant::now() + every, every);
            loop {
                tick.tick().await;
                if let Err(fault) = self.renew_node().await {
                    tracing::debug!(?fault, "the lease was not renewed");
                }
            }
        };
        tokio::select! {
            done = self.register_held() => done?,
            () = renewals => {}
        }
        Ok(every)
    }

    async fn register_held(&self) -> Result<(), Fault> {
        for sessions in self.granted().chunks(CHUNK) {
            let answer = self.register_sessions(sessions.to_vec()).await;
            // Without an answer all of it may be done later.
            let settles = Instant::now() + if answer.is_ok() { Duration::ZERO } else { LATE };
            // And what ended meanwhile ended before presence heard of it.
            let gone = sessions.iter().filter(|sent| !self.settle(sent, settles));
            self.unheard.keep(gone.map(|sent| End::new(sent, settles)));
            let superseded = answer?;
            // Only what was sent can have lost: a newer socket may hold it now.
            for sent in sessions.iter().filter(|sent| superseded.contains(&sent.session_id)) {
                self.supersede(&sent.session_id, |it| it.connection_id == sent.connection_id);
            }
        }
        Ok(())
    }

    /// Notes when a claim of the session is settled. False when it is not held
    /// any more.
    fn settle(&self, sent: &pr::Session, settles: Instant) -> bool {
        let Some(mut holders) = self.held.get_mut(sent.session_id.as_str()) else { return false };
        let is_it = |held: &&mut Held| held.session.connection_id == sent.connection_id;
        holders.iter_mut().find(is_it).map(|held| held.settles = settles).is_some()
    }

    fn granted(&self) -> Vec<pr::Session> {
        let granted = |held: &Held| (held.session.generation > 0).then(|| held.session.clone());
        self.held
            .iter()
            .flat_map(|held| held.iter().filter_map(granted).collect::<Vec<_>>())
            .collect()
    }

    async fn register_sessions(&self, sessions: Vec<pr::Session>) -> Result<Vec<String>, Fault> {
        let node_id = self.node_id.clone();
        let request = self.bounded(pr::RegisterSessionsRequest { node_id, sessions });
        let answer = self.client.clone().register_sessions(request).await?;
        Ok(answer.into_inner().superseded_session_ids)
    }

    /// Closes the sockets that lost their session to another node.
    pub(crate) fn supersede(&self, session_id: &str, lost: impl Fn(&pr::Session) -> bool) {
        for held in self.remove(session_id, |held| lost(&held.session)) {
            self.sockets.close(held.socket, superseded());
        }
    }

    fn remove(&self, session_id: &str, gone: impl Fn(&Held) -> bool) -> Vec<Held> {
        let mut removed = Vec::new();
        self.held.remove_if_mut(session_id, |_, holders| {
            removed = holders.extract_if(.., |held| gone(held)).collect();
            holders.is_empty()
        });
        removed
    }
}

/// Presence does not answer, or has lost its memory of this node.
fn is_away(fault: &Fault) -> bool {
    matches!(fault.kind, Kind::Unavailable | Kind::Timeout | Kind::NotFound)
        || fault.reason == short(Reason::Overloaded)
}

fn superseded() -> Closing {
    Closing { close: Close::Superseded, retry_after_ms: 0 }
}
