//! What a greeted socket holds. Nothing of it would be missed by another
//! gateway: it dies with the socket and is built anew by a resume.

use std::{collections::HashMap, sync::Arc};

use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::Kind;
use parking_lot::Mutex;

use crate::{
    auth::token::Claims,
    fault::Fault,
    hub::rooms::Followed,
    outbox::{Outbox, Position},
};

/// A room that the socket follows.
#[derive(Clone)]
pub(crate) struct Joined {
    /// The stay; its last clone ends it.
    pub followed: Arc<Followed>,
    /// The last event written to the socket.
    pub cursor: Position,
}

/// See the module.
pub(crate) struct Session {
    /// The socket's id in this process.
    pub socket: u64,
    /// What waits for the socket.
    pub outbox: Arc<Outbox>,
    /// The session's id.
    pub session_id: String,
    /// Who it is.
    pub user: Arc<str>,
    /// What the token said.
    pub claims: Claims,
    rooms: Mutex<HashMap<Arc<str>, Joined>>,
    tickets: Mutex<Vec<Arc<str>>>,
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
            rooms: Mutex::default(),
            tickets: Mutex::default(),
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

    /// Keeps a stay; an earlier one in the same room ends.
    ///
    /// What waits from that is forgotten before: it is read again, or seen.
    pub(crate) fn keep(&self, followed: Arc<Followed>, cursor: Position) {
        let room = followed.id().clone();
        let earlier = self.rooms.lock().insert(room, Joined { followed, cursor });
        // Dropped outside the lock: it takes the hub's.
        drop(earlier);
    }

    /// Ends a stay.
    pub(crate) fn leave(&self, room: &str) {
        let joined = self.rooms.lock().remove(room);
        drop(joined);
        self.outbox.forget(room);
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

    /// An event of `room` at `position` was written.
    pub(crate) fn wrote(&self, room: &str, position: &Position) {
        if let Some(joined) = self.rooms.lock().get_mut(room)
            && joined.cursor.seq < position.seq
        {
            joined.cursor = position.clone();
        }
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

    /// Replaces the watched users; answers those no longer watched.
    pub(crate) fn set_watched(&self, users: Vec<Arc<str>>) -> Vec<Arc<str>> {
        let mut watched = self.watched.lock();
        let former = std::mem::replace(&mut *watched, users);
        former.into_iter().filter(|user| !watched.contains(user)).collect()
    }
}
