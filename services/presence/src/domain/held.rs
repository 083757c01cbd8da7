//! A session as it is held, whatever store keeps it.

use super::{Claim, Lease, Life, Lost, Status};

/// Stands for "not closed".
const NEVER: i64 = i64::MAX;

/// One start of a node, as a store keeps it.
pub(crate) trait Holder: Clone {
    /// The node, for those who must be told that a session was lost.
    fn node_id(&self) -> &str;

    /// The lease as it is now.
    fn lease(&self) -> Lease;

    /// True for the same start.
    fn is(&self, other: &Self) -> bool;

    /// Counts a socket that opened (1) or closed (-1).
    fn count(&self, sockets: i64);
}

/// A session and who holds it.
pub(crate) struct Held<H: Holder> {
    /// The session id, then the connection id: one allocation for both.
    ids: Box<str>,
    /// Where the connection id begins.
    split: u32,
    pub(crate) generation: u64,
    pub(crate) holder: H,
    pub(crate) connected_at: i64,
    closed_at: i64,
    pub(crate) status: Status,
}

impl<H: Holder> Held<H> {
    /// A socket that opened `now`.
    pub(crate) fn new(claim: Claim, holder: H, now: i64) -> Self {
        holder.count(1);
        let split = claim.session_id.len();
        let mut ids = claim.session_id;
        ids.push_str(&claim.connection_id);
        Self {
            ids: ids.into(),
            split: u32::try_from(split).unwrap_or(u32::MAX),
            generation: claim.generation,
            holder,
            connected_at: now,
            closed_at: NEVER,
            status: claim.status.unwrap_or(Status::Online),
        }
    }

    pub(crate) fn session_id(&self) -> &str {
        &self.ids[..self.split as usize]
    }

    pub(crate) fn connection_id(&self) -> &str {
        &self.ids[self.split as usize..]
    }

    /// When its socket closed.
    pub(crate) fn closed_at(&self) -> Option<i64> {
        (!self.is_open()).then_some(self.closed_at)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.closed_at == NEVER
    }

    pub(super) fn life(&self) -> Life {
        Life {
            lease: self.holder.lease(),
            connected_at: self.connected_at,
            closed_at: self.closed_at(),
            status: self.status,
        }
    }

    /// Its socket closed `now`, unless it had.
    pub(crate) fn close(&mut self, now: i64) {
        if self.is_open() {
            self.closed_at = now;
            self.holder.count(-1);
        }
    }

    /// The same socket, on the present start of its node.
    pub(super) fn move_to(&mut self, holder: H) {
        if self.is_open() && !self.holder.is(&holder) {
            holder.count(1);
            self.holder.count(-1);
            self.holder = holder;
        }
    }

    pub(super) fn lost(&self) -> Lost {
        Lost {
            node_id: self.holder.node_id().to_owned(),
            session_id: self.session_id().to_owned(),
            generation: self.generation,
            connection_id: self.connection_id().to_owned(),
        }
    }
}

impl<H: Holder> Drop for Held<H> {
    fn drop(&mut self) {
        if self.is_open() {
            self.holder.count(-1);
        }
    }
}
