//! What a greeted socket holds. Nothing of it would be missed by another
//! gateway: it dies with the socket and is built anew by a resume.

use std::{collections::HashMap, sync::Arc};

use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::Kind;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    auth::token::Claims,
    fault::Fault,
    hub::rooms::Followed,
    outbox::{Event, Outbox, Position},
};

/// A room that the socket follows.
#[derive(Clone)]
pub(crate) struct Joined {
    /// The stay; its last clone ends it.
    pub(crate) followed: Arc<Followed>,
    /// The last event written to the socket.
    pub(crate) cursor: Position,
    /// The head when the user was last known to belong to the room: that they
    /// left before is history.
    since: u64,
}

/// See the module.
pub(crate) struct Session {
    /// The socket's id in this process.
    pub(crate) socket: u64,
    /// What waits for the socket.
    pub(crate) outbox: Arc<Outbox>,
    /// The session's id.
    pub(crate) session_id: String,
    /// Who it is.
    pub(crate) user: Arc<str>,
    /// What the token said.
    pub(crate) claims: Claims,
    /// One replay at a time: pages in memory are bounded by one per socket.
    pub(crate) replays: Semaphore,
    rooms: Mutex<HashMap<Arc<str>, Joined>>,
    tickets: Mutex<Vec<Arc<str>>>,
    told: Mutex<Option<Arc<str>>>,
    /// Each with the ping behind it.
    unproved: Mutex<Vec<(u64, Arc<str>)>>,
    watched: Mutex<Vec<Arc<str>>>,
}

impl Session {
    /// A session that follows nothing yet.
    pub(crate) fn new(
        socket: u64,
        outbox: Arc<Outbox>,
        session_id: String,
        claims: Claims,
    ) -> Self {
        Self {
            socket,
            outbox,
            session_id,
            user: claims.sub.as_str().into(),
            claims,
            replays: Semaphore::new(1),
            rooms: Mutex::default(),
            tickets: Mutex::default(),
            told: Mutex::default(),
            unproved: Mutex::default(),
            watched: Mutex::default(),
        }
    }

    /// The user id, as requests carry it.
    pub(crate) fn actor(&self) -> String {
        self.user.to_string()
    }

    /// Errors when one more room would be too many.
    pub(crate) fn check_room(&self, room: &str, max: usize) -> Result<(), Fault> {
        let rooms = self.rooms.lock();
        if rooms.len() < max || rooms.contains_key(room) {
            return Ok(());
        }
        let message = format!("a connection follows at most {max} rooms");
        Err(Fault::new(Kind::Exhausted, Reason::TooManyRooms, message).at("roomId"))
    }

    /// Keeps a stay that begins after `cursor`; an earlier one in the same
    /// room ends. What waits from that is forgotten: it is read again, or was
    /// seen.
    pub(crate) fn keep(&self, followed: Arc<Followed>, cursor: Position, since: u64) {
        let room = followed.id().clone();
        let earlier = self.rooms.lock().insert(room.clone(), Joined { followed, cursor, since });
        // Dropped outside the lock: it takes the hub's.
        drop(earlier);
        self.outbox.forget(&room);
    }

    /// The last event written of a room that the socket follows, if it does;
    /// the user is known to belong to it at `since`.
    pub(crate) fn belongs(&self, room: &str, since: u64) -> Option<Position> {
        let mut rooms = self.rooms.lock();
        let joined = rooms.get_mut(room)?;
        joined.since = joined.since.max(since);
        Some(joined.cursor.clone())
    }

    /// What the socket has of a room is no part of its log any more: it goes on
    /// after `cursor`.
    pub(crate) fn start_over(&self, room: &str, cursor: Position) {
        if let Some(joined) = self.rooms.lock().get_mut(room) {
            joined.cursor = cursor;
        }
    }

    /// Ends a stay.
    pub(crate) fn leave(&self, room: &str) {
        let joined = self.rooms.lock().remove(room);
        drop(joined);
        self.outbox.forget(room);
    }

    /// Ends every stay.
    pub(crate) fn leave_all(&self) {
        let rooms = std::mem::take(&mut *self.rooms.lock());
        drop(rooms);
    }

    /// The stay in a room.
    pub(crate) fn joined(&self, room: &str) -> Option<Joined> {
        self.rooms.lock().get(room).cloned()
    }

    /// True while `followed` is the socket's stay in its room.
    pub(crate) fn is_current(&self, followed: &Arc<Followed>) -> bool {
        let rooms = self.rooms.lock();
        rooms.get(followed.id()).is_some_and(|joined| Arc::ptr_eq(&joined.followed, followed))
    }

    /// Notes that an event of a room is about to be written; false when the
    /// socket does not follow the room any more.
    pub(crate) fn writes(&self, room: &str, event: &Event) -> bool {
        let mut rooms = self.rooms.lock();
        let Some(joined) = rooms.get_mut(room) else { return false };
        let Some(position) = &event.position else { return true };
        if joined.cursor.seq < position.seq {
            joined.cursor = position.clone();
        }
        let ends = position.seq >= joined.since && event.ends_stay_of(&self.user);
        drop(rooms);
        if ends {
            self.leave(room);
        }
        true
    }

    /// Adds a ticket that waits.
    pub(crate) fn add_ticket(&self, ticket: Arc<str>) {
        let mut tickets = self.tickets.lock();
        if !tickets.contains(&ticket) {
            tickets.push(ticket);
        }
    }

    /// A ticket no longer waits.
    pub(crate) fn remove_ticket(&self, ticket: &str) {
        self.tickets.lock().retain(|waiting| **waiting != *ticket);
    }

    /// The tickets that wait.
    pub(crate) fn tickets(&self) -> Vec<Arc<str>> {
        self.tickets.lock().clone()
    }

    /// True when a ticket waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.tickets.lock().is_empty()
    }

    /// The outcome of a ticket was written, and behind it a ping: it no longer
    /// waits.
    pub(crate) fn was_told(&self, ticket: &Arc<str>, ping: u64) {
        self.remove_ticket(ticket);
        *self.told.lock() = Some(ticket.clone());
        let mut unproved = self.unproved.lock();
        // Told again and again, it is noted once.
        unproved.retain(|(_, other)| other != ticket);
        unproved.push((ping, ticket.clone()));
    }

    /// Outcomes not known to have arrived until now, when a ping was answered:
    /// those before it.
    pub(crate) fn take_proved(&self, ping: u64) -> Vec<Arc<str>> {
        let mut unproved = self.unproved.lock();
        unproved.extract_if(.., |(behind, _)| *behind <= ping).map(|(_, ticket)| ticket).collect()
    }

    /// The last outcome written, which the next search must not be answered.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().iter().map(ToString::to_string).collect()
    }

    /// Replaces the watched users; answers those no longer watched.
    pub(crate) fn set_watched(&self, users: Vec<Arc<str>>) -> Vec<Arc<str>> {
        let mut watched = self.watched.lock();
        let former = std::mem::replace(&mut *watched, users);
        former.into_iter().filter(|user| !watched.contains(user)).collect()
    }
}
