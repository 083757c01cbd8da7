//! The task of one socket.

mod end;
mod write;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
};

use axum::extract::ws::{Message, WebSocket};
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use mingle_client::close::Close;
use mingle_proto::{
    errors::v1::Reason,
    gateway::v1::{client_frame, server_frame},
};
use mingle_runtime::{status::Kind, telemetry};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::Instrument as _;

use self::end::{End, closing};
use super::{
    codec,
    handle::{self, Reply},
    replay::Job,
    session::Session,
};
use crate::{
    drain,
    fault::Fault,
    gateway::Gateway,
    hub::{sockets::Registered, tickets::Wish},
    outbox::{Encoding, Outbox},
    throttle::Address,
};

/// Refused hellos on one socket.
const MAX_REFUSED: u32 = 3;
/// Frames in a row that are none of the protocol's.
const MAX_UNREADABLE: u32 = 100;

type Working = Pin<Box<dyn Future<Output = Result<Reply, Fault>> + Send>>;

/// The request that is being worked on.
struct InFlight {
    id: u32,
    /// Events of this room wait for the reply.
    room: Option<String>,
    is_hello: bool,
    work: Working,
}

/// One socket.
pub(super) struct Connection {
    gateway: Arc<Gateway>,
    socket: WebSocket,
    address: Address,
    outbox: Arc<Outbox>,
    registered: Registered,
    session: Option<Arc<Session>>,
    request: Option<InFlight>,
    /// What came while the hello was worked on.
    early: Option<Message>,
    jobs: FuturesUnordered<Job>,
    /// When it was last heard of; before the hello: when it came.
    heard: Instant,
    pinged: Instant,
    /// Pings sent; each carries its number.
    pings: u64,
    /// When the token ends.
    expires: Option<Instant>,
    refused: u32,
    unreadable: u32,
    /// What a socket is told that never says a good hello.
    unwelcome: Close,
}

impl Connection {
    /// A socket that has not said hello.
    pub(super) fn new(
        gateway: Arc<Gateway>,
        socket: WebSocket,
        encoding: Encoding,
        address: Address,
    ) -> Self {
        let outbox = Arc::new(Outbox::new(encoding, gateway.config.limits.outbound_bytes));
        let registered = gateway.sockets.register(outbox.clone());
        if gateway.ctx.stop.is_cancelled() {
            // Its upgrade was on its way when the others were closed.
            outbox.close(drain::goodbye());
        }
        let now = Instant::now();
        Self {
            gateway,
            socket,
            address,
            outbox,
            registered,
            session: None,
            request: None,
            early: None,
            jobs: FuturesUnordered::new(),
            heard: now,
            pinged: now,
            pings: 0,
            expires: None,
            refused: 0,
            unreadable: 0,
            unwelcome: Close::HelloTimeout,
        }
    }

    /// Serves the socket to its end.
    ///
    /// What is seldom done is boxed where it begins: an idle socket's task
    /// holds none of it.
    pub(super) async fn run(&mut self) {
        let mut timer = pin!(sleep_until(self.heard));
        let end = loop {
            if let Err(end) = self.step(timer.as_mut()).await {
                break end;
            }
        };
        // Nothing polls them from here on, and nobody takes what they bring.
        self.jobs.clear();
        Box::pin(self.finish(end)).await;
    }

    /// Waits for one thing and deals with it.
    async fn step(&mut self, mut timer: Pin<&mut Sleep>) -> Result<(), End> {
        if let Some(closing) = self.outbox.closing() {
            return Err(End::Close(closing));
        }
        let is_free = self.request.is_none();
        if is_free && let Some(message) = self.early.take() {
            return Box::pin(self.receive(Some(Ok(message)))).await;
        }
        let reads = is_free || self.is_greeting() && self.early.is_none();
        let working = async {
            match &mut self.request {
                Some(request) => (&mut request.work).await,
                None => std::future::pending().await,
            }
        };
        let times = (self.heard, self.pinged, self.expires);
        let deadline = Self::deadline(&self.gateway, self.session.as_deref(), times);
        // One that only moves on is looked at again when the old one has passed: most
        // things that happen move it.
        if deadline < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
        // A hello that is being worked on came in time.
        let is_due = is_free || self.session.is_some();
        tokio::select! {
            outcome = working => Box::pin(self.answer(outcome)).await,
            () = self.outbox.changed() => Box::pin(self.write_waiting()).await,
            Some(()) = self.jobs.next() => Ok(()),
            message = self.socket.recv(), if reads => Box::pin(self.receive(message)).await,
            () = timer, if is_due => Box::pin(self.tick()).await,
        }
    }

    /// When something is due if nothing happens.
    fn deadline(
        gateway: &Gateway,
        session: Option<&Session>,
        (heard, pinged, expires): (Instant, Instant, Option<Instant>),
    ) -> Instant {
        let limits = &gateway.config.limits;
        let Some(session) = session else { return heard + limits.hello_timeout() };
        let ping = pinged + limits.ping_interval(session.is_waiting());
        let dead = heard + limits.dead_after();
        ping.min(dead).min(expires.unwrap_or(dead))
    }

    async fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let limits = &self.gateway.config.limits;
        let Some(session) = &self.session else {
            let is_late = self.heard + limits.hello_timeout() <= now;
            return if is_late { Err(closing(self.unwelcome)) } else { Ok(()) };
        };
        if self.expires.is_some_and(|expires| expires <= now) {
            return Err(closing(Close::TokenExpired));
        }
        if self.heard + limits.dead_after() <= now {
            return Err(closing(Close::Idle));
        }
        if self.pinged + limits.ping_interval(session.is_waiting()) <= now {
            self.pinged = now;
            let ping = self.ping();
            return self.write(vec![ping]).await;
        }
        Ok(())
    }

    async fn receive(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(self.broken(&error).await),
            None => return Err(End::Gone),
        };
        if self.session.is_some() {
            self.heard = Instant::now();
        }
        match message {
            Message::Text(_) | Message::Binary(_) if self.request.is_some() => {
                self.early = Some(message);
                Ok(())
            }
            Message::Text(_) | Message::Binary(_) => self.request(&message).await,
            Message::Pong(payload) => {
                self.prove_alive(&payload);
                Ok(())
            }
            Message::Ping(_) => Ok(()),
            Message::Close(_) => Err(End::Gone),
        }
    }

    fn is_greeting(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.is_hello)
    }

    /// The peer is there, and has everything before the ping that it answers.
    fn prove_alive(&self, payload: &[u8]) {
        let Some(session) = &self.session else { return };
        let ping = payload.try_into().map_or(0, u64::from_be_bytes);
        for ticket in session.take_proved(ping) {
            self.gateway.tickets.wish(Wish::Told(ticket));
        }
        for ticket in session.tickets() {
            self.gateway.tickets.wish(Wish::Alive(ticket));
        }
    }

    /// Starts to work on a frame.
    async fn request(&mut self, message: &Message) -> Result<(), End> {
        let max = self.gateway.config.limits.frame_bytes;
        let codec::Request { id, traceparent, kind } =
            match codec::decode(self.outbox.encoding(), message, max) {
                Ok(read) => read,
                Err(bad) => {
                    self.unreadable += 1;
                    self.reply(bad.id, refusal(bad.fault)).await?;
                    let is_stranger = self.unreadable >= MAX_UNREADABLE;
                    return if is_stranger { Err(closing(Close::ProtocolError)) } else { Ok(()) };
                }
            };
        self.unreadable = 0;
        let gateway = self.gateway.clone();
        let (room, is_hello) = (handle::room_of(&kind).map(str::to_owned), self.session.is_none());
        let work: Working = match (&self.session, kind) {
            (Some(session), kind) => {
                let span = tracing::info_span!("frame", otel.name = handle::name_of(&kind));
                telemetry::continue_from(&span, &traceparent);
                Box::pin(handle::request(gateway, session.clone(), kind).instrument(span))
            }
            (None, client_frame::Kind::Hello(hello)) => {
                let socket = (self.registered.id, self.address);
                Box::pin(handle::hello::greet(gateway, self.outbox.clone(), socket, hello))
            }
            (None, _) => {
                let message = "the first frame must be a hello";
                let fault = Fault::new(Kind::Unauthenticated, Reason::HelloRequired, message);
                return self.reply(id, refusal(fault)).await;
            }
        };
        self.request = Some(InFlight { id, room, is_hello, work });
        // A hello may have waited while this process stood still, and whoever said
        // it is back elsewhere since then: the session is not taken for a socket
        // that has ended.
        let next = if is_hello { self.socket.recv().now_or_never() } else { None };
        match next {
            Some(message) => Box::pin(self.receive(message)).await,
            None => Ok(()),
        }
    }

    /// Answers the request in flight, then writes what waited for that.
    async fn answer(&mut self, outcome: Result<Reply, Fault>) -> Result<(), End> {
        let Some(InFlight { id, is_hello, .. }) = self.request.take() else { return Ok(()) };
        match outcome {
            Ok(reply) => {
                if let Some(session) = reply.session {
                    self.heard = Instant::now();
                    self.pinged = self.heard;
                    self.expires = handle::hello::expiry(&self.gateway, &session.claims);
                    self.session = Some(session);
                }
                let message = codec::reply(self.outbox.encoding(), id, reply.kind);
                self.tell(vec![message], reply.told.into_iter().collect()).await?;
                self.jobs.extend(reply.jobs);
            }
            Err(fault) => {
                let end = if is_hello { self.refuse_hello(&fault) } else { None };
                self.reply(id, refusal(fault)).await?;
                if let Some(end) = end {
                    return Err(end);
                }
            }
        }
        self.write_waiting().await
    }

    /// A refused hello may be followed by a better one, within bounds.
    fn refuse_hello(&mut self, fault: &Fault) -> Option<End> {
        self.refused += 1;
        let close = match fault.reason.as_str() {
            "TOO_MANY_CONNECTIONS" => return Some(closing(Close::TooManyConnections)),
            // What it was told to wait, it need not wait here.
            "OVERLOADED" => return Some(closing(Close::Overloaded)),
            "TOKEN_EXPIRED" => Close::TokenExpired,
            _ if fault.kind.is_transient() => Close::Overloaded,
            _ => Close::Unauthenticated,
        };
        self.unwelcome = close;
        (self.refused >= MAX_REFUSED).then(|| closing(close))
    }
}

fn refusal(fault: Fault) -> server_frame::Kind {
    fault.count();
    server_frame::Kind::Error(fault.into())
}
