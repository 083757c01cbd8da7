//! A client over the life of many sockets: it goes on at any gateway, asks again
//! until there is an answer, and keeps its journal.

use std::{
    collections::VecDeque,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mingle_client::ws::{
    Client, Encoding, Error, Limits, Reply, Socket,
    proto::{
        Hello, Matched, Ping, Position, PresenceStatus, Resume, Room, RoomJoin, RoomPosition,
        Ticket, TicketState, Welcome, client_frame::Kind as Ask, server_frame::Kind,
    },
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{Instant, timeout};

use super::journal::{Journal, Sight, Stay, What};
use crate::world::token;

/// How long a request waits for its answer, and a connection to be made.
pub(super) const ANSWER: Duration = Duration::from_secs(6);
/// Between two tries of one thing, at most; half of it at least.
const PAUSE: Duration = Duration::from_millis(400);
/// Silent answers in a row after which a client looks for another gateway.
const PATIENCE: u32 = 2;
/// Nothing that is asked stays unanswered for longer.
const ENDURANCE: Duration = Duration::from_secs(120);

/// What all people of a test did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Something is broken now.
    pub(crate) trouble: AtomicBool,
    pub(crate) acknowledged: AtomicUsize,
    /// Of them, those while something was broken.
    pub(crate) in_trouble: AtomicUsize,
    /// Requests that had to be made again.
    pub(crate) retried: AtomicUsize,
    /// Sessions that were taken up again.
    pub(crate) resumed: AtomicUsize,
    /// Connections that began anew.
    pub(crate) greeted: AtomicUsize,
    /// `degraded` events, and refusals that told when to come back.
    pub(crate) degraded: AtomicUsize,
    pub(crate) matched: AtomicUsize,
    pub(crate) left: AtomicUsize,
    /// Those who did the last thing they will do.
    pub(crate) quiet: AtomicUsize,
    /// Those who closed their last socket.
    pub(crate) gone: Mutex<Vec<String>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The outcome is unknown, or nothing was done: ask again.
    Again,
    /// It will not be done, for this reason.
    Refused(String),
}

/// See the module.
pub(crate) struct Person {
    pub(crate) journal: Journal,
    pub(super) dice: StdRng,
    pub(super) tally: Arc<Tally>,
    gateways: Vec<SocketAddr>,
    encoding: Encoding,
    client: Option<Client>,
    /// The connection is over; what it brought may still be taken.
    is_over: bool,
    /// Connections so far.
    pub(super) connections: u32,
    /// Where the client is now.
    pub(super) room: Option<String>,
    /// Matches that were told and not looked at yet.
    pub(super) found: VecDeque<Ticket>,
    /// When the connection was lost.
    lost: Option<Instant>,
    resume_token: String,
    silent: u32,
}

impl Person {
    /// Somebody who has not connected yet; what they do follows from `seed`.
    pub(crate) fn new(user: &str, gateways: Vec<SocketAddr>, seed: u64, tally: Arc<Tally>) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let encoding = Encoding::ALL[usize::from(dice.random_bool(0.5))];
        Self {
            journal: Journal::new(user),
            dice,
            tally,
            gateways,
            encoding,
            client: None,
            is_over: false,
            connections: 0,
            room: None,
            found: VecDeque::new(),
            lost: None,
            resume_token: String::new(),
            silent: 0,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    /// Cuts the connection, when what it brought is taken.
    pub(super) async fn drop_socket(&mut self) {
        self.journal.note("drops its socket");
        self.is_over = true;
        self.hear_waiting().await;
    }

    /// The next connection is a new session.
    pub(super) fn forget_session(&mut self) {
        self.resume_token.clear();
    }

    /// Any of the gateways.
    pub(super) fn gateway(&mut self) -> SocketAddr {
        self.gateways[self.dice.random_range(0..self.gateways.len())]
    }

    /// Asks until there is an answer, or a refusal for good: its reason.
    pub(super) async fn ask<R: Reply>(&mut self, ask: Ask) -> Result<R, String> {
        let begin = Instant::now();
        loop {
            match self.try_ask(ask.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Refused(reason)) => return Err(reason),
                Err(Failure::Again) if self.pause(begin, &ask).await => {}
                Err(Failure::Again) => return Err("NO_ANSWER".to_owned()),
            }
        }
    }

    /// Before the next try; false when there were too many.
    pub(super) async fn pause(&mut self, begin: Instant, what: impl std::fmt::Debug) -> bool {
        if begin.elapsed() > ENDURANCE {
            self.journal.wrong(format_args!("no answer within {ENDURANCE:?} to {what:?}"));
            return false;
        }
        self.tally.retried.fetch_add(1, Relaxed);
        let pause = PAUSE.mul_f64(self.dice.random_range(0.5..1.0));
        self.rest(pause).await;
        true
    }

    /// Asks once, on a connection that is made if there is none.
    pub(super) async fn try_ask<R: Reply>(&mut self, ask: Ask) -> Result<R, Failure> {
        self.connect().await?;
        self.request(ask).await
    }

    async fn request<R: Reply>(&mut self, ask: Ask) -> Result<R, Failure> {
        let Some(client) = &mut self.client else { return Err(Failure::Again) };
        let answer = match client.request(ask.clone()).await {
            Ok(reply) => {
                self.silent = 0;
                self.journal.contact();
                Ok(reply)
            }
            Err(error) => Err(self.failure(&ask, error)),
        };
        self.hear_waiting().await;
        answer
    }

    fn failure(&mut self, ask: &Ask, error: Error) -> Failure {
        match error {
            Error::Refused(error) => {
                self.silent = 0;
                self.journal.contact();
                return self.refusal(format_args!("{ask:?}"), &error.reason, error.retry_after_ms);
            }
            Error::Timeout => {
                self.journal.note(format_args!("no answer to {ask:?}"));
                self.journal.failed("no answer");
                self.silent += 1;
                // A join that is asked for twice may be done twice.
                self.is_over |= self.silent >= PATIENCE || matches!(ask, Ask::RoomJoin(_));
            }
            Error::Closed { code, reason } => self.closed(code, &reason),
            Error::Connect(error) => {
                self.journal.note(format_args!("no connection: {error}"));
                self.journal.failed("no connection");
            }
            error => {
                self.journal.wrong(format_args!("{ask:?}: {error}"));
                self.is_over = true;
            }
        }
        Failure::Again
    }

    /// A refusal tells when to come back, or is one of the few that are for good.
    pub(super) fn refusal(
        &mut self,
        ask: impl std::fmt::Display,
        reason: &str,
        retry_after_ms: u32,
    ) -> Failure {
        self.journal.note(format_args!("refused {reason} {retry_after_ms} {ask}"));
        if retry_after_ms > 0 {
            self.journal.failed(reason);
            self.tally.degraded.fetch_add(1, Relaxed);
            return Failure::Again;
        }
        if !matches!(reason, "ROOM_CLOSED" | "USER_NOT_FOUND") {
            self.journal.wrong(format_args!("refused {reason} for good: {ask}"));
        }
        Failure::Refused(reason.to_owned())
    }

    fn closed(&mut self, code: u16, reason: &str) {
        self.journal.note(format_args!("closed with {code}: {reason}"));
        self.journal.failed(format_args!("closed {code}"));
        self.lost.get_or_insert_with(Instant::now);
        // Lost, going away, draining, overloaded: whatever else is not of a fault.
        if !matches!(code, 1001 | 1006 | 4006 | 4008 | 4010 | 4011) {
            self.journal.wrong(format_args!("closed with {code}: {reason}"));
        }
        self.is_over = true;
    }

    /// Makes a connection if there is none: the session goes on, and so do the
    /// rooms.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        if self.client.is_some() {
            return Ok(());
        }
        self.silent = 0;
        let gateway = self.gateway();
        let url = format!("ws://{gateway}/ws");
        let socket = match timeout(ANSWER, Socket::connect(&url, self.encoding)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(self.failure(&Ask::Ping(Ping {}), error)),
            Err(_) => {
                self.journal.note(format_args!("no connection to {gateway} in time"));
                self.journal.failed("no connection");
                return Err(Failure::Again);
            }
        };
        // A hello may wait 8 s for rooms.
        let limits = Limits { reply: ANSWER * 2, events: 1 << 16 };
        self.client = Some(Client::over(socket, limits));
        self.is_over = false;
        self.connections += 1;
        let done = self.hello(gateway).await;
        if done.is_err() {
            self.drop_socket().await;
        }
        done
    }

    async fn hello(&mut self, gateway: SocketAddr) -> Result<(), Failure> {
        self.journal.see_presence(false);
        let token = token(&self.journal.user);
        let rooms: Vec<RoomPosition> = self.present().into_iter().collect();
        let resume = (!self.resume_token.is_empty())
            .then(|| Resume { token: self.resume_token.clone(), rooms: rooms.clone() });
        let is_resume = resume.is_some();
        let welcome: Welcome = self.request(Ask::Hello(Hello { token, resume })).await?;
        self.journal.note(format_args!("at {gateway}, resumed {}", welcome.resumed));
        if is_resume && !welcome.resumed {
            self.journal.wrong("a resume began a new session");
        }
        let count = if is_resume { &self.tally.resumed } else { &self.tally.greeted };
        count.fetch_add(1, Relaxed);
        self.resume_token = welcome.resume_token;
        for room in rooms {
            let told = welcome.rooms.iter().find(|told| told.room_id == room.room_id);
            if !told.is_some_and(|told| told.recovered) {
                self.follow(room).await?;
            }
        }
        if let Some(lost) = self.lost.take() {
            self.journal.waited(What::Connect, lost);
        }
        Ok(())
    }

    /// The room in which the client is, and what it heard last.
    fn present(&self) -> Option<RoomPosition> {
        let room = self.room.as_ref()?;
        let stay = self.journal.stays.iter().rev().find(|stay| stay.room == *room)?;
        Some(RoomPosition { room_id: room.clone(), after: Some(stay.at().clone()) })
    }

    /// Goes into a room and hears its log from the beginning.
    pub(crate) async fn enter(&mut self, room: &str) {
        let (begin, room) = (Instant::now(), room.to_owned());
        let after = Position::default();
        self.journal.stays.push(Stay { room: room.clone(), after, heard: Vec::new(), left: false });
        self.room = Some(room.clone());
        loop {
            // Whoever connects follows the room where they are.
            let done = if self.client.is_none() {
                self.connect().await
            } else {
                let from = self.present();
                self.follow(from.unwrap_or_default()).await.map(drop)
            };
            if done.is_ok() || !self.pause(begin, &room).await {
                return;
            }
        }
    }

    /// Follows a room from a place of its log on.
    async fn follow(&mut self, from: RoomPosition) -> Result<Room, Failure> {
        let RoomPosition { room_id, after } = from;
        let room: Room = self.request(Ask::RoomJoin(RoomJoin { room_id, after })).await?;
        if !room.recovered {
            self.journal.wrong(format_args!("not recovered: {room:?}"));
        }
        Ok(room)
    }

    /// Hears for so long.
    pub(super) async fn rest(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|it| !it.is_zero())
        {
            let Some(client) = &mut self.client else {
                let _ = timeout(left, pending::<()>()).await;
                return;
            };
            match timeout(left, client.event()).await {
                Err(_) => return,
                Ok(Ok(event)) => self.take(event).await,
                Ok(Err(error)) => {
                    self.failure(&Ask::Ping(Ping {}), error);
                    self.hear_waiting().await;
                }
            }
        }
    }

    /// Takes the events that came with an answer, then lets go of a connection
    /// that is over.
    async fn hear_waiting(&mut self) {
        while let Some(client) = self.client.as_mut().filter(|client| client.waiting() > 0) {
            match client.event().await {
                Ok(event) => Box::pin(self.take(event)).await,
                Err(_) => self.is_over = true,
            }
        }
        if self.is_over {
            self.client = None;
        }
    }

    async fn take(&mut self, event: Kind) {
        self.journal.contact();
        match event {
            Kind::Matched(matched) => {
                let Matched { ticket_id, match_id, room_id, .. } = matched;
                let state = TicketState::Matched.into();
                self.told(Ticket { ticket_id, state, match_id, room_id });
            }
            Kind::Presence(presence) => self.see(&presence.user_id, presence.status()),
            Kind::Degraded(degraded) => {
                self.journal.note(format_args!("degraded {:?}", degraded.states));
                let states = &degraded.states;
                self.tally.degraded.fetch_add(usize::from(!states.is_empty()), Relaxed);
                self.journal.see_presence(states.iter().any(|it| it == "presence"));
            }
            Kind::Gap(gap) => {
                self.journal.note(format_args!("gap {}", gap.room_id));
                if let Some(room) = self.present().filter(|it| it.room_id == gap.room_id)
                    && !self.is_over
                {
                    // Unanswered, the next connection follows it.
                    self.is_over |= Box::pin(self.follow(room)).await.is_err();
                }
            }
            event => {
                self.journal.hear(&event);
                if matches!(&event, Kind::RoomClosed(of) if Some(&of.room_id) == self.room.as_ref())
                {
                    self.room = None;
                }
            }
        }
    }

    /// Notes what was told of a ticket; a room to go to is kept.
    pub(super) fn told(&mut self, ticket: Ticket) {
        self.journal.told(&ticket);
        if !ticket.room_id.is_empty() {
            self.found.push_back(ticket);
        }
    }

    /// Notes what somebody is told to be.
    pub(super) fn see(&mut self, user: &str, status: PresenceStatus) {
        self.journal.note(format_args!("{user} is {status:?}"));
        if status == PresenceStatus::Offline {
            self.journal.offline.push(Sight { user: user.to_owned(), at: Instant::now() });
        }
    }
}
