//! A session: one client's connection as it survives reconnects.

use super::{Lease, Status, Terms};

/// A socket that asks to hold a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose session. With `session_id` its identity.
    pub user_id: String,
    /// Which one of them.
    pub session_id: String,
    /// One more than the client last held.
    pub generation: u64,
    /// Unique per socket; that of a later one is greater.
    pub connection_id: String,
    /// What it shows; `None` keeps what is stored, `Online` when nothing is.
    pub status: Option<Status>,
}

/// A socket that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// Of its session.
    pub generation: u64,
    /// Which socket; `None` stands for any of the generation. The claim of one
    /// may be done although it was never answered, and another's instead of it.
    pub connection_id: Option<&'a str>,
}

impl Ended<'_> {
    /// True when it is the socket that holds its session.
    pub fn held(&self, generation: u64, connection_id: &str) -> bool {
        let is_it = self.connection_id.is_none_or(|id| id == connection_id);
        self.generation == generation && is_it
    }
}

/// A holder that lost its session to a newer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The node of the socket to close.
    pub node_id: String,
    /// The session.
    pub session_id: String,
    /// The generation that lost.
    pub generation: u64,
    /// The socket to close.
    pub connection_id: String,
}

/// What decides whether a session is there, and what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The lease of the node that holds it.
    pub lease: Lease,
    /// When its socket was opened.
    pub connected_at: i64,
    /// When its socket closed.
    pub closed_at: Option<i64>,
    /// What it shows.
    pub status: Status,
}

/// The phases of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its socket is open on a node whose lease holds.
    Live,
    /// It ended and may return.
    Grace,
    /// It is over.
    Gone,
}

impl Life {
    /// When it ended, or will unless its node's lease is renewed.
    pub fn ends_at(&self, terms: &Terms) -> i64 {
        let lease = self.lease.ends_at(terms);
        self.closed_at.map_or(lease, |closed| lease.min(closed))
    }

    /// When it is gone unless something renews it.
    pub fn gone_at(&self, terms: &Terms) -> i64 {
        self.ends_at(terms).saturating_add(terms.grace_ms)
    }

    /// Where it is in its life.
    pub fn phase(&self, now: i64, terms: &Terms) -> Phase {
        if now >= self.gone_at(terms) {
            Phase::Gone
        } else if self.closed_at.is_some() || now >= self.ends_at(terms) {
            Phase::Grace
        } else {
            Phase::Live
        }
    }

    /// The last proof of life: the close, or else the node's last renewal, or
    /// the opening when that came later.
    pub fn seen_at(&self) -> i64 {
        self.closed_at.unwrap_or(self.lease.renewed_at.max(self.connected_at))
    }
}
