//! A client over the life of many sockets: it goes on at any gateway, asks again
//! until there is an answer, and keeps its journal.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mingle_client::ws::{
    Client, Encoding, Error, Reply,
    proto::{Ticket, client_frame::Kind as Ask},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

use super::journal::Journal;

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
    /// Tickets whose owner was told the room.
    pub(crate) called: AtomicUsize,
    pub(crate) left: AtomicUsize,
    /// Those who begin nothing new.
    pub(crate) settled: AtomicUsize,
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
    pub(super) encoding: Encoding,
    pub(super) client: Option<Client>,
    /// The connection is over; what it brought may still be taken.
    pub(super) is_over: bool,
    /// Connections so far.
    pub(super) connections: u32,
    /// Where the client is now.
    pub(super) room: Option<String>,
    /// Matches that were told and not looked at yet, and when.
    pub(super) found: VecDeque<(Ticket, Instant)>,
    /// When the connection was lost.
    pub(super) lost: Option<Instant>,
    pub(super) resume_token: String,
    pub(super) silent: u32,
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

    pub(super) async fn request<R: Reply>(&mut self, ask: Ask) -> Result<R, Failure> {
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

    pub(super) fn failure(&mut self, ask: &Ask, error: Error) -> Failure {
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
}
