//! What one client asked, was answered and heard.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use mingle_client::ws::proto::{Message, Position, Ticket, TicketState, server_frame::Kind};
use serde_json::Value;
use tokio::time::Instant;

use crate::{ledger::Row, world::logged};

/// Silences longer than this are noted.
const SILENCE: Duration = Duration::from_secs(2);

/// What became of a request that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It may have been done, or be done yet.
    Unknown,
    /// It was done, and this is where it stands.
    Acknowledged(Position),
    /// It was not done, for this reason.
    Refused(String),
}

/// What people wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// Another connection after one that was lost.
    Connect,
    /// A message is acknowledged.
    Say,
    /// A message that was acknowledged is heard.
    Hear,
    /// A ticket is given.
    Join,
    /// A room to go to, once there is a ticket.
    Match,
    /// A page of history.
    Read,
    /// The state of another user.
    See,
}

/// How long somebody waited for something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) what: What,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
}

/// A message, from the first attempt to its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) room: String,
    pub(crate) key: String,
    pub(crate) body: String,
    pub(crate) outcome: Outcome,
    /// When it was acknowledged.
    pub(crate) answered: Option<Instant>,
}

/// What a client heard of one room.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    pub(crate) room: String,
    /// The event before the first one that is to be heard.
    pub(crate) after: Position,
    /// When they were in, once they were.
    pub(crate) since: Option<Instant>,
    /// Every event, in the order heard.
    pub(crate) heard: Vec<Row>,
    /// The client left, and need not have heard all.
    pub(crate) left: bool,
}

impl Stay {
    /// The last event heard.
    pub(crate) fn at(&self) -> &Position {
        self.heard.last().map_or(&self.after, |row| &row.position)
    }
}

/// A state that somebody was told to be in.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) user: String,
    pub(crate) at: Instant,
}

/// The last messages of a room before one of them.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) room: String,
    pub(crate) before: u64,
    /// As many were asked for.
    pub(crate) limit: usize,
    pub(crate) messages: Vec<Value>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(crate) user: String,
    pub(crate) sends: Vec<Send>,
    pub(crate) stays: Vec<Stay>,
    /// What was told of each ticket: state, match, room.
    pub(crate) tickets: BTreeMap<String, BTreeSet<(TicketState, String, String)>>,
    /// Tickets of which an event, or the answer to a search, told the room.
    pub(crate) called: BTreeSet<String>,
    /// Others who were told to be offline.
    pub(crate) offline: Vec<Sight>,
    /// From when to when nothing came from any gateway.
    pub(crate) silences: Vec<(Instant, Instant)>,
    /// From when to when the gateway said that presence is degraded.
    pub(crate) blind: Vec<(Instant, Instant)>,
    /// What was waited for, and came.
    pub(crate) waits: Vec<Wait>,
    /// What went wrong and was no defect: a word for each time.
    pub(crate) failures: Vec<(Instant, String)>,
    /// Each message heard: its id, since when they were there to hear it, when
    /// they did.
    pub(crate) heard_at: Vec<(String, Instant, Instant)>,
    /// What was read of the past, where nothing is added any more.
    pub(crate) pages: Vec<Page>,
    /// What no answer may be.
    pub(crate) wrong: Vec<String>,
    /// All that happened, for who looks for the cause of a violation.
    pub(crate) lines: Vec<(Instant, String)>,
    /// The client closed its last socket before the end.
    pub(crate) is_gone: bool,
    contact: Instant,
    blind_since: Option<Instant>,
}

impl Journal {
    /// An empty one.
    pub(crate) fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            sends: Vec::new(),
            stays: Vec::new(),
            tickets: BTreeMap::new(),
            called: BTreeSet::new(),
            offline: Vec::new(),
            silences: Vec::new(),
            blind: Vec::new(),
            waits: Vec::new(),
            failures: Vec::new(),
            heard_at: Vec::new(),
            pages: Vec::new(),
            wrong: Vec::new(),
            lines: Vec::new(),
            is_gone: false,
            contact: Instant::now(),
            blind_since: None,
        }
    }

    /// Something happened.
    pub(crate) fn note(&mut self, what: impl fmt::Display) {
        self.lines.push((Instant::now(), what.to_string()));
    }

    /// Something happened that must not.
    pub(crate) fn wrong(&mut self, what: impl fmt::Display) {
        self.note(format_args!("WRONG {what}"));
        self.wrong.push(what.to_string());
    }

    /// Something failed, as it may.
    pub(crate) fn failed(&mut self, word: impl fmt::Display) {
        self.failures.push((Instant::now(), word.to_string()));
    }

    /// Something came that was waited for.
    pub(crate) fn waited(&mut self, what: What, begun: Instant) {
        self.waits.push(Wait { what, begun, ended: Instant::now() });
    }

    /// Something came from a gateway.
    pub(crate) fn contact(&mut self) {
        let now = Instant::now();
        if now - self.contact > SILENCE {
            self.silences.push((self.contact, now));
        }
        self.contact = now;
    }

    /// The client is gone for good.
    pub(crate) fn gone(&mut self) {
        self.see_presence(false);
        self.is_gone = true;
        if let Some(stay) = self.stays.last_mut() {
            stay.left = true;
        }
        // Nobody lives to see the end.
        let never = Duration::from_secs(86_400);
        self.silences.push((self.contact, self.contact + never));
    }

    /// The gateway tells whether presence is degraded.
    pub(crate) fn see_presence(&mut self, is_degraded: bool) {
        match (self.blind_since, is_degraded) {
            (None, true) => self.blind_since = Some(Instant::now()),
            (Some(since), false) => {
                self.blind.push((since, Instant::now()));
                self.blind_since = None;
            }
            _ => {}
        }
    }

    /// What was told of a ticket.
    pub(crate) fn told(&mut self, ticket: &Ticket) {
        let Ticket { ticket_id, match_id, room_id, .. } = ticket;
        self.note(format_args!("ticket {ticket_id} {:?} {match_id} {room_id}", ticket.state()));
        let of = self.tickets.entry(ticket_id.clone()).or_default();
        of.insert((ticket.state(), match_id.clone(), room_id.clone()));
    }

    /// An event of a room: kept in the present stay in it.
    pub(crate) fn hear(&mut self, event: &Kind) {
        let Some((room, position)) = logged(event) else { return };
        self.note(format_args!("heard {room} {}", position.seq));
        let row = match event {
            Kind::Message(message) => said(message, position),
            _ => silent(position),
        };
        let stay = self.stays.iter_mut().rev().find(|stay| stay.room == room);
        match stay {
            Some(stay) if !stay.left => {
                if let (true, Some(since)) = (row.is_message, stay.since) {
                    self.heard_at.push((row.position.id.clone(), since, Instant::now()));
                }
                stay.heard.push(row);
            }
            _ => self.wrong(format_args!("an event of {room}, where they are not: {event:?}")),
        }
    }
}

fn said(message: &Message, position: Position) -> Row {
    Row {
        position,
        is_message: true,
        actor: message.sender_id.clone(),
        client_msg_id: message.client_msg_id.clone(),
        body: message.body.clone(),
    }
}

/// An event that is no message: where it stands is all that is compared.
fn silent(position: Position) -> Row {
    Row {
        position,
        is_message: false,
        actor: String::new(),
        client_msg_id: String::new(),
        body: String::new(),
    }
}
