//! Where presence is kept: one method is one atomic intent.

pub mod known;
mod limits;
pub mod memory;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;
use mingle_store::Result;

use crate::domain::{Claim, Ended, Lost, Node, Presence, Status};

pub use limits::Limits;

/// Keeps nodes, sessions and what was last seen of whom.
///
/// **Shape**: a session is identified by its user and its id together, so that
/// everything one method touches belongs to one user (one Redis slot).
///
/// **Time**: the store's own (its clock; a server's for remote backends).
///
/// **Guarantees**: each method is atomic per user and may be retried: the
/// second call finds what the first did. Reads never depend on [`sweep`]: a
/// lapsed lease and a finished grace count from their millisecond on.
///
/// **Errors**: transient ones of the backend; what a caller did wrong is an
/// answer, not an error.
///
/// [`sweep`]: Store::sweep
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Announces a start of a node and starts its lease. A newer generation
    /// ends the sessions of the older one.
    async fn register_node(&self, node: Node) -> Result<Registered>;

    /// Moves the lease on. False when the node is unknown, is registered in
    /// another generation, or its lease and grace are over.
    async fn renew_node(&self, node_id: &str, generation: u64) -> Result<bool>;

    /// Stores each claim unless another socket holds the session in its
    /// generation or a newer one.
    async fn register_sessions(&self, node_id: &str, claims: Vec<Claim>) -> Result<Stored>;

    /// Makes a socket of `node_id` the holder of its session.
    async fn connect(&self, node_id: &str, claim: Claim) -> Result<Connected>;

    /// Starts the grace of a session that is held by the socket that `ended`.
    async fn disconnect(&self, user_id: &str, session_id: &str, ended: Ended<'_>) -> Result<bool>;

    /// Sets what a session shows. Not for sessions that are gone.
    async fn set_status(&self, user_id: &str, session_id: &str, status: Status) -> Result<Set>;

    /// Reads presences, in the order asked. While it [`rests`], those who would
    /// be offline are unknown.
    ///
    /// [`rests`]: Store::rests
    async fn get_many(&self, user_ids: &[String]) -> Result<Vec<Presence>>;

    /// Counts. Sessions are exact; users lag by at most one sweep.
    async fn count(&self) -> Result<Totals>;

    /// The nodes whose lease holds, by id.
    async fn list_nodes(&self) -> Result<Vec<Node>>;

    /// Finds users whose status changed because time passed. Bounded work: call
    /// it again soon. Each change is answered once.
    async fn sweep(&self) -> Result<Vec<String>>;

    /// Holders that lost their sessions by calls that failed: a write may be
    /// done and its answer lost. Bounded work: call it beside [`sweep`].
    ///
    /// [`sweep`]: Store::sweep
    async fn lost(&self) -> Result<Vec<Lost>> {
        Ok(Vec::new())
    }

    /// How long the last sweep is enough for; nothing when another is welcome
    /// at once. For stores whose sweep costs something even if there is nothing
    /// to find.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    /// False while nobody can be read or written through here, because what the
    /// store is kept in is away.
    fn is_reached(&self) -> bool {
        true
    }

    /// How long it cannot be told yet who is offline, because nodes may have
    /// tried in vain to say that they are there; nothing when it can. A store
    /// that was in this process all the while always can.
    fn rests(&self) -> Option<Duration> {
        None
    }
}

/// The answer to `register_node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The lease runs.
    Leased,
    /// This newer generation is registered.
    Superseded(u64),
    /// The store holds as many nodes as it may.
    Full,
}

/// The answer to `register_sessions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Each claim was looked at.
    Done {
        /// Sessions that another socket holds.
        superseded: Vec<String>,
        /// Older holders that lost.
        lost: Vec<Lost>,
        /// Users whose status changed.
        changed: Vec<String>,
    },
    /// The node is unknown or gone.
    UnknownNode,
    /// The store holds as many sessions as it may; some were stored.
    Full {
        /// Older holders that lost.
        lost: Vec<Lost>,
        /// Users whose status changed.
        changed: Vec<String>,
    },
}

/// The answer to `connect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connected {
    /// The socket holds the session.
    Accepted {
        /// The older holder.
        lost: Option<Lost>,
        /// True when the user's status changed.
        changed: bool,
    },
    /// The session is held in this generation.
    Held(u64),
    /// The node is unknown or gone.
    UnknownNode,
    /// The user has as many live sessions as they may.
    TooMany,
    /// The store holds as many sessions as it may.
    Full,
}

/// The answer to `set_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Stored; true when the user's status changed.
    Done(bool),
    /// There is no such session.
    UnknownSession,
}

/// How many are online.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Users who are not offline.
    pub users: u64,
    /// Sessions that are live.
    pub sessions: u64,
}
