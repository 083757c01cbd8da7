//! A ticket and a match as they are stored.

use std::collections::{BTreeMap, BTreeSet};

/// What a user is and whom they accept, in canonical form: two contents mean
/// the same exactly when they are equal.
///
/// **Shape**: a wanted attribute that accepts anything is absent from `wants`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// What the user is, by attribute.
    pub attributes: BTreeMap<String, String>,
    /// Whom the user accepts, by attribute; never an empty set.
    pub wants: BTreeMap<String, BTreeSet<String>>,
}

/// The states of a ticket. All but `Waiting` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It may be matched.
    Waiting,
    /// It is in exactly one match.
    Matched,
    /// Its owner cancelled it.
    Cancelled,
    /// Its owner went away, or it waited as long as it may.
    Expired,
}

/// How a ticket's owner proves to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// By presence, and by answering pings.
    Presence,
    /// By asking for the ticket before its lease ends.
    Lease,
}

/// A match as every ticket of it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// UUIDv7; the `external_id` of its room.
    pub match_id: String,
    /// Where it was made.
    pub pool: String,
    /// Its tickets, in the order in which they were proposed.
    pub ticket_ids: Vec<String>,
    /// Its users, sorted.
    pub user_ids: Vec<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Set once the room exists.
    pub room_id: Option<String>,
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// UUIDv7.
    pub ticket_id: String,
    /// Its owner.
    pub user_id: String,
    /// Where it waits.
    pub pool: String,
    /// Who it is and whom it accepts.
    pub content: Content,
    /// Where it stands.
    pub state: State,
    /// How its owner proves to be there.
    pub liveness: Liveness,
    /// The end of the lease, for `Liveness::Lease`.
    pub lease_until: Option<i64>,
    /// The age that decides who is matched first.
    pub created_at: i64,
    /// It waits no longer than this.
    pub expires_at: i64,
    /// Set in a final state.
    pub ended_at: Option<i64>,
    /// Set when matched.
    pub of: Option<Match>,
    /// Its owner knows the outcome.
    pub told: bool,
}

impl Ticket {
    /// True when nothing will change that its owner is waiting for: a matched
    /// ticket without its room is not there yet.
    pub fn is_settled(&self) -> bool {
        match self.state {
            State::Waiting => false,
            State::Matched => self.room_id().is_some(),
            State::Cancelled | State::Expired => true,
        }
    }

    /// True when its user gets no other in the pool: it waits, or is matched
    /// and its owner was not told.
    pub fn is_active(&self) -> bool {
        match self.state {
            State::Waiting => true,
            State::Matched => !self.told,
            State::Cancelled | State::Expired => false,
        }
    }

    /// True when it waits and its time or its lease is over.
    pub fn is_overdue(&self, now: i64) -> bool {
        self.state == State::Waiting
            && (self.expires_at <= now || self.lease_until.is_some_and(|until| until <= now))
    }

    /// The room of its match, once there is one.
    pub fn room_id(&self) -> Option<&str> {
        self.of.as_ref().and_then(|of| of.room_id.as_deref())
    }
}
