//! Reads a room's log for one socket until it can be handed events live.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use mingle_proto::{
    chat::v1 as chat,
    errors::v1::Reason,
    gateway::v1::{self as pb, server_frame},
};
use mingle_runtime::{
    states::{Fault as State, States},
    status::Kind,
};
use rand::Rng as _;
use tokio_util::task::AbortOnDropHandle;

use super::session::Session;
use crate::{
    fault::Fault,
    gateway::Gateway,
    hub::rooms::Followed,
    outbox::{Entry, Event, Position},
    translate,
};

/// Between two tries to read a log that cannot be read now, the first ones;
/// then up to twice as long each time.
const RETRY: Duration = Duration::from_millis(250);
const MAX_RETRY: Duration = Duration::from_secs(5);
/// Failures in a row after which what is no outage is a defect of the log.
const DEFECT: u32 = 3;

/// Work that goes on after a reply.
pub(crate) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// At most `limit` events of the log (0: a full page), and whether they follow
/// on from where they were asked for.
pub(super) async fn page(
    gateway: &Gateway,
    session: &Session,
    room: &str,
    (after, limit): (&Position, u32),
) -> Result<chat::ReplayResponse, Fault> {
    let request = chat::ReplayRequest {
        actor: session.actor(),
        room_id: room.to_owned(),
        after: Some(chat::Position { seq: after.seq, id: after.id.clone() }),
        limit,
    };
    Ok(gateway.chat_about(&request.room_id).replay(request).await?.into_inner())
}

/// Where a replay goes on.
pub(super) struct Replay {
    /// The stay in the room.
    pub(super) followed: Arc<Followed>,
    /// The last event that the socket has.
    pub(super) after: Position,
    /// The room is closed: its end is the end of the stay.
    is_closed: bool,
    /// Read already: what comes after the position.
    known: Option<chat::ReplayResponse>,
    /// Failures to read on, in a row.
    failures: u32,
    /// The log had nothing more although its head is further on.
    is_behind: bool,
}

/// What comes after a step.
enum Next {
    ReadOn,
    Pause(Duration),
    Done,
}

impl Replay {
    /// Goes on after `after`.
    pub(super) fn new(followed: Arc<Followed>, after: Position, is_closed: bool) -> Self {
        Self { followed, after, is_closed, known: None, failures: 0, is_behind: false }
    }

    /// The same with the first page, read after the stay began.
    pub(super) fn knowing(self, page: chat::ReplayResponse) -> Self {
        Self { known: Some(page), ..self }
    }

    /// Hands the socket every event after its position, page by page as it
    /// takes them, and ends with the socket live. When the log cannot be read
    /// on without a hole the socket is told of a gap and is live at the head.
    pub(super) async fn run(mut self, gateway: Arc<Gateway>, session: Arc<Session>) {
        while let Next::Pause(time) = self.read_on(&gateway, &session).await {
            tokio::time::sleep(time).await;
        }
    }

    /// Reads in the socket's turn, which it gives up for a pause: a log that
    /// cannot be read now keeps no other room from going live.
    async fn read_on(&mut self, gateway: &Arc<Gateway>, session: &Arc<Session>) -> Next {
        // The semaphore is never closed.
        let _turn = session.replays.acquire().await;
        loop {
            match self.step(gateway, session).await {
                Next::ReadOn => {}
                end => return end,
            }
        }
    }

    async fn step(&mut self, gateway: &Arc<Gateway>, session: &Arc<Session>) -> Next {
        session.outbox.drained().await;
        // The room was left, or joined again with another replay.
        if !session.is_current(&self.followed) {
            return Next::Done;
        }
        let page = match self.known.take() {
            Some(page) => Ok(page),
            None => self.next_page(gateway, session).await,
        };
        if !session.is_current(&self.followed) {
            return Next::Done;
        }
        match page {
            Ok(page) if page.recovered => {
                self.failures = 0;
                let (has_more, is_empty) = (page.has_more, page.events.is_empty());
                self.hand_over(session, page.events);
                if has_more { Next::ReadOn } else { self.catch_up(session, is_empty).await }
            }
            Ok(_) => self.give_up(session),
            // The membership ended and its end cannot be read any more: nothing
            // more is theirs to hear.
            Err(fault) if matches!(fault.kind, Kind::NotFound | Kind::Denied) => {
                session.leave(self.followed.id());
                session.outbox.push(Entry::Event(translate::gap(self.followed.id())));
                Next::Done
            }
            // A peer that is killed in the middle of an answer is not told from one
            // that answers a defect: only what fails again and again is one.
            Err(fault) if fault.kind.is_transient() || self.failures < DEFECT => {
                Next::Pause(self.pause(&fault))
            }
            Err(_) => self.give_up(session),
        }
    }

    /// Reads a page in a task of its own. Nobody polls a job while its socket
    /// waits for a peer that does not read: one that held a turn then, or was
    /// next for one, would keep it from those who do.
    async fn next_page(
        &self,
        gateway: &Arc<Gateway>,
        session: &Arc<Session>,
    ) -> Result<chat::ReplayResponse, Fault> {
        let (gateway, session) = (gateway.clone(), session.clone());
        let (room, after) = (self.followed.id().clone(), self.after.clone());
        let reading = tokio::spawn(async move {
            let _turn = gateway.replays.turn().await;
            page(&gateway, &session, &room, (&after, 0)).await
        });
        let read = AbortOnDropHandle::new(reading).await;
        read.unwrap_or_else(|_| Err(Fault::new(Kind::Internal, Reason::Internal, "internal error")))
    }

    /// Tells of a gap, and is live at the head.
    fn give_up(&self, session: &Session) -> Next {
        session.outbox.push(Entry::Event(translate::gap(self.followed.id())));
        let head = self.followed.live_at_head();
        session.start_over(self.followed.id(), head);
        Next::Done
    }

    /// What is waited after a failure: what was told, and more after each, so
    /// that many sockets do not ask together what cannot be answered.
    fn pause(&mut self, fault: &Fault) -> Duration {
        let most = RETRY.saturating_mul(1 << self.failures.min(8)).min(MAX_RETRY);
        self.failures += 1;
        let told = fault.retry_after.unwrap_or_default().clamp(RETRY, MAX_RETRY);
        told.max(rand::rng().random_range(Duration::ZERO..=most))
    }

    /// The log was read to its end: ends the stay of a closed room, and makes
    /// the socket live unless there is more by now. A log that goes on to have
    /// less than was handed out was put back, and is not asked in haste.
    async fn catch_up(&mut self, session: &Session, is_empty: bool) -> Next {
        if self.is_closed {
            session.outbox.drained().await;
            if session.is_current(&self.followed) {
                session.leave(self.followed.id());
            }
            return Next::Done;
        }
        if self.followed.live_after(self.after.seq) {
            return Next::Done;
        }
        let was_behind = std::mem::replace(&mut self.is_behind, is_empty);
        if is_empty && was_behind { Next::Pause(RETRY) } else { Next::ReadOn }
    }

    fn hand_over(&mut self, session: &Session, events: Vec<chat::Event>) {
        if let Some(last) = events.last() {
            self.after = Position { seq: last.seq, id: last.id.clone() };
        }
        let room = self.followed.id();
        let shared = events.into_iter().filter_map(|event| translate::event(room, event));
        session.outbox.push_replay(shared);
    }
}

/// The state of the system, for a socket that just greeted.
pub(crate) fn degraded(states: &States) -> Arc<Event> {
    let part = |(name, fault): (&str, &State)| pb::DegradedPart {
        name: name.to_owned(),
        unavailable: fault.is_unreached,
        causes: fault.causes.iter().cloned().collect(),
    };
    let kind = pb::Degraded {
        states: states.names().map(ToOwned::to_owned).collect(),
        parts: states.iter().map(part).collect(),
    };
    Event::new(server_frame::Kind::Degraded(kind))
}
