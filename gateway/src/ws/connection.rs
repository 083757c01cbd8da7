//! The task of one socket.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::{SinkExt as _, StreamExt as _, stream::FuturesUnordered};
use mingle_client::close::Close;
use mingle_proto::{
    errors::v1::Reason,
    gateway::v1::{self as pb, client_frame, server_frame},
};
use mingle_runtime::status::Kind;
use tokio::time::Instant;
use tracing::Instrument as _;

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
    outbox::{Closing, Encoding, Entry, Event, Outbox},
    throttle::Address,
};

/// What goes out in one write.
const WRITE: usize = 64 * 1024;
/// How long a peer may take to read our close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Of it, what a request in flight may take.
const LAST_ANSWER: Duration = Duration::from_secs(2);
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

/// The socket is at its end.
enum End {
    /// By our choice.
    Close(Closing),
    /// By the peer's, or the network's.
    Gone,
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
    jobs: FuturesUnordered<Job>,
    /// When it was last heard of; before the hello: when it came.
    heard: Instant,
    pinged: Instant,
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
            jobs: FuturesUnordered::new(),
            heard: now,
            pinged: now,
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
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        if let End::Close(closing) = end {
            // A peer that reads no more does not hold us, nor the whole process.
            let is_ours = closing.close == Close::Draining;
            let most = if is_ours { self.gateway.spread } else { CLOSE_TIMEOUT };
            let _ = tokio::time::timeout(most.min(CLOSE_TIMEOUT), self.say_goodbye(closing)).await;
        }
        Box::pin(self.end_session()).await;
    }

    async fn end_session(&mut self) {
        // The request may have made the session that must be ended: a socket
        // that closes during its hello is still let in first.
        if let Some(request) = self.request.take().filter(|request| request.is_hello)
            && let Ok(Reply { session: Some(session), .. }) = request.work.await
        {
            self.session = Some(session);
        }
        let Some(session) = self.session.take() else { return };
        for ticket in session.tickets() {
            self.gateway.tickets.forget(&ticket, session.socket);
        }
        let watched = session.set_watched(Vec::new());
        self.gateway.people.unwatch(session.socket, &watched);
        self.gateway.sessions.disconnect(session.socket, &session.session_id).await;
    }

    /// Waits for one thing and deals with it.
    async fn step(&mut self) -> Result<(), End> {
        if let Some(closing) = self.outbox.closing() {
            return Err(End::Close(closing));
        }
        let is_free = self.request.is_none();
        let working = async {
            match &mut self.request {
                Some(request) => (&mut request.work).await,
                None => std::future::pending().await,
            }
        };
        let times = (self.heard, self.pinged, self.expires);
        let deadline = Self::deadline(&self.gateway, self.session.as_deref(), times);
        // A hello that is being worked on came in time.
        let is_due = is_free || self.session.is_some();
        tokio::select! {
            outcome = working => Box::pin(self.answer(outcome)).await,
            () = self.outbox.changed() => Box::pin(self.write_waiting()).await,
            Some(()) = self.jobs.next() => Ok(()),
            message = self.socket.recv(), if is_free => Box::pin(self.receive(message)).await,
            () = tokio::time::sleep_until(deadline), if is_due => Box::pin(self.tick()).await,
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
        let Some(session) = &self.session else { return Err(closing(self.unwelcome)) };
        if self.expires.is_some_and(|expires| expires <= now) {
            return Err(closing(Close::TokenExpired));
        }
        if self.heard + limits.dead_after() <= now {
            return Err(closing(Close::Idle));
        }
        if self.pinged + limits.ping_interval(session.is_waiting()) <= now {
            self.pinged = now;
            return self.write(vec![Message::Ping(Default::default())]).await;
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
            Message::Text(_) | Message::Binary(_) => self.request(&message).await,
            Message::Pong(_) => {
                self.prove_alive();
                Ok(())
            }
            Message::Ping(_) => Ok(()),
            Message::Close(_) => Err(End::Gone),
        }
    }

    /// The library refused the peer's bytes: too large, or no WebSocket.
    async fn broken(&mut self, error: &axum::Error) -> End {
        let too_large = error.to_string().contains("too long");
        if too_large {
            let frame = CloseFrame { code: 1009, reason: "message too big".into() };
            let send = self.socket.send(Message::Close(Some(frame)));
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, send).await;
        }
        End::Gone
    }

    fn prove_alive(&self) {
        let Some(session) = &self.session else { return };
        for ticket in session.take_unproved() {
            self.gateway.tickets.wish(Wish::Told(ticket));
        }
        for ticket in session.tickets() {
            self.gateway.tickets.wish(Wish::Alive(ticket));
        }
    }

    /// Starts to work on a frame.
    async fn request(&mut self, message: &Message) -> Result<(), End> {
        let max = self.gateway.config.limits.frame_bytes;
        let (id, kind) = match codec::decode(self.outbox.encoding(), message, max) {
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
        Ok(())
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
                self.reply(id, reply.kind).await?;
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

    async fn reply(&mut self, id: u32, kind: server_frame::Kind) -> Result<(), End> {
        let message = codec::reply(self.outbox.encoding(), id, kind);
        self.write(vec![message]).await
    }

    /// Writes everything that waits, but for the room of the request. Nothing
    /// comes before the welcome.
    async fn write_waiting(&mut self) -> Result<(), End> {
        if self.session.is_none() {
            return Ok(());
        }
        loop {
            let held = self.request.as_ref().and_then(|request| request.room.as_deref());
            let entries = self.outbox.take(WRITE, held);
            if entries.is_empty() {
                return Ok(());
            }
            let mut told = Vec::new();
            let mut messages = Vec::with_capacity(entries.len());
            for entry in entries {
                match entry {
                    Entry::Event(event) => messages.extend(self.note(&event)),
                    Entry::Matched(event, ticket) => {
                        messages.extend(self.note(&event));
                        told.push(ticket);
                    }
                    Entry::CatchUp(room) => self.catch_up(&room),
                    Entry::Over(ticket) => self.forget_ticket(&ticket),
                }
            }
            if !told.is_empty() {
                // Its pong proves that the outcome arrived.
                messages.push(Message::Ping(Default::default()));
            }
            self.write(messages).await?;
            for ticket in told {
                self.session.iter().for_each(|session| session.was_told(&ticket));
            }
        }
    }

    /// The event as a message, unless it is of a room that was left since.
    fn note(&self, event: &Event) -> Option<Message> {
        if let (Some(session), Some(room)) = (&self.session, &event.room)
            && !session.writes(room, event)
        {
            return None;
        }
        Some(event.message(self.outbox.encoding()))
    }

    fn forget_ticket(&self, ticket: &str) {
        self.session.iter().for_each(|session| session.remove_ticket(ticket));
    }

    fn catch_up(&mut self, room: &str) {
        let Some(session) = &self.session else { return };
        let job = handle::rooms::catch_up(self.gateway.clone(), session.clone(), room);
        self.jobs.extend(job);
    }

    /// Writes messages in one go; ends when the outbox is told to close, which
    /// a peer that does not read brings about.
    async fn write(&mut self, messages: Vec<Message>) -> Result<(), End> {
        let (socket, outbox) = (&mut self.socket, &self.outbox);
        let written = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            written = written => written.map_err(|_| End::Gone),
            closing = outbox.closed() => Err(End::Close(closing)),
        }
    }

    /// A draining server answers what it was asked already.
    async fn answer_last(&mut self) -> Result<(), axum::Error> {
        let Some(request) = self.request.take_if(|request| !request.is_hello) else {
            return Ok(());
        };
        let kind = request.work.await.map_or_else(refusal, |reply| reply.kind);
        self.socket.feed(codec::reply(self.outbox.encoding(), request.id, kind)).await
    }

    async fn say_goodbye(&mut self, closing: Closing) -> Result<(), axum::Error> {
        if closing.retry_after_ms > 0 {
            let _ = tokio::time::timeout(LAST_ANSWER, self.answer_last()).await;
            let draining = pb::Draining { retry_after_ms: closing.retry_after_ms };
            let event = Event::new(server_frame::Kind::Draining(draining));
            self.socket.feed(event.message(self.outbox.encoding())).await?;
        }
        let close = closing.close;
        let frame = CloseFrame { code: close.code(), reason: close.reason().into() };
        self.socket.send(Message::Close(Some(frame))).await?;
        // Until the peer has answered, the close may not have arrived.
        while let Some(Ok(_)) = self.socket.recv().await {}
        Ok(())
    }
}

fn closing(close: Close) -> End {
    End::Close(Closing { close, retry_after_ms: 0 })
}

fn refusal(fault: Fault) -> server_frame::Kind {
    server_frame::Kind::Error(fault.into())
}
