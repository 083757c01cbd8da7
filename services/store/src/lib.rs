//! What every backend of Mingle shares, and nothing of any one service.
//!
//! - [`error`]: what a backend may answer, and whether to wait and try again.
//! - [`backoff`]: waits between attempts.
//! - [`clock`]: time as a parameter.
//! - [`sqlite`]: the embedded database, one folder, one process.
//! - [`postgres`]: the database of many processes.
//! - [`mod@redis`]: the shared index and fast path, its connections, scripts and
//!   fence.
//! - [`mod@sql`]: one statement in the words of both.
//! - [`bus`]: topics within a process and between processes.
//! - [`commit`]: group commit, many writers in one transaction.
//! - [`breaker`], [`failover`]: a primary, a secondary, and the decision
//!   between them.

pub mod backoff;
pub mod breaker;
pub mod bus;
pub mod clock;
pub mod commit;
pub mod error;
pub mod failover;
mod meanings;
pub mod patience;
pub mod postgres;
pub mod redis;
pub mod sql;
pub mod sqlite;
mod why;

use std::sync::Arc;

pub use error::{Error, ErrorKind, Result};
pub use meanings::describe;
pub use why::Why;

/// The truth, wherever it is.
#[derive(Clone)]
pub enum Database {
    /// Embedded: of this process alone.
    Sqlite(sqlite::Sqlite),
    /// A server, shared by many processes.
    Postgres(postgres::Postgres),
}

/// How much of a pool is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Which pool.
    pub pool: &'static str,
    /// Connections that somebody has.
    pub busy: usize,
    /// Connections that nobody has.
    pub idle: usize,
    /// As many there may be.
    pub max: usize,
}

impl Database {
    /// How much of each pool is in use; `None` once they are closed.
    pub fn usage(&self) -> Option<Vec<Usage>> {
        match self {
            Self::Sqlite(database) => database.usage(),
            Self::Postgres(database) => database.usage(),
        }
    }
}

impl Usage {
    fn of<D: sqlx::Database>(pool: &'static str, of: &sqlx::Pool<D>) -> Option<Self> {
        let (size, idle) = (of.size() as usize, of.num_idle());
        let max = of.options().get_max_connections() as usize;
        // The two are read one after the other.
        let usage = Self { pool, busy: size.saturating_sub(idle), idle, max };
        (!of.is_closed()).then_some(usage)
    }
}

impl From<sqlite::Sqlite> for Database {
    fn from(database: sqlite::Sqlite) -> Self {
        Self::Sqlite(database)
    }
}

impl From<postgres::Postgres> for Database {
    fn from(database: postgres::Postgres) -> Self {
        Self::Postgres(database)
    }
}

/// The backends of one process, opened once by the composition root and
/// shared by its roles.
#[derive(Clone)]
pub struct Backends {
    /// The truth: messages, tickets, matches.
    pub database: Database,
    /// The shared index and fast path; `None` where memory stands for it.
    pub redis: Option<redis::Redis>,
    /// The way between processes.
    pub bus: Arc<dyn bus::Bus>,
    /// The time.
    pub clock: Arc<dyn clock::Clock>,
}
