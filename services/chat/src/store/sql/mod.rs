//! Chat in a database: tables in `migrations`, statements in `sql`, each in
//! the words of PostgreSQL and of SQLite.

mod append;
mod read;
mod records;
mod retention;
mod rows;

use std::sync::Arc;

use mingle_store::{
    Database, Result,
    clock::Clock,
    commit::Lanes,
    postgres::Postgres,
    sql::Migrations,
    sqlite::{Migrated, Migration},
};

use self::append::{Append, Item};
use super::Announce;
use crate::domain::{Verdict, Wish};

const MIGRATIONS: Migrations = Migrations {
    sqlite: &[
        Migration { version: 1, sql: include_str!("../../../migrations/sqlite/0001_rooms.sql") },
        Migration { version: 2, sql: include_str!("../../../migrations/sqlite/0002_leaves.sql") },
        Migration { version: 3, sql: include_str!("../../../migrations/sqlite/0003_rewrites.sql") },
    ],
    postgres: &[
        Migration { version: 1, sql: include_str!("../../../migrations/postgres/0001_rooms.sql") },
        Migration { version: 2, sql: include_str!("../../../migrations/postgres/0002_leaves.sql") },
        Migration {
            version: 3,
            sql: include_str!("../../../migrations/postgres/0003_rewrites.sql"),
        },
    ],
};
/// Transactions of PostgreSQL that write at the same time; rooms never share
/// a row, and one fsync serves several.
const LANES: usize = 4;

/// What a store is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Wishes of one transaction at most; 1 gives each its own.
    pub append_batch: usize,
    /// Members of one room at most.
    pub max_members: u32,
}

/// Rooms in a database.
pub struct SqlStore {
    database: Database,
    lanes: Lanes<Append>,
}

/// Brings the tables to the newest version.
pub async fn migrate(database: &Database) -> Result<Migrated> {
    database.migrate("chat", MIGRATIONS).await
}

/// What [`migrate`] would do.
pub async fn pending(database: &Postgres) -> Result<Migrated> {
    database.pending("chat", MIGRATIONS.postgres).await
}

impl SqlStore {
    /// Brings the tables up to date and starts the write path. What is
    /// committed here is told to `announce`.
    pub async fn open(
        database: Database,
        clock: Arc<dyn Clock>,
        announce: Arc<dyn Announce>,
        options: Options,
    ) -> Result<Self> {
        migrate(&database).await?;
        let max_members = options.max_members;
        let append = Append { database: database.clone(), clock, announce, max_members };
        // SQLite has one writer: more lanes would only wait for each other.
        let lanes = if matches!(database, Database::Sqlite(_)) { 1 } else { LANES };
        let lanes = Lanes::start(Arc::new(append), lanes, options.append_batch);
        Ok(Self { database, lanes })
    }

    /// How many wishes wait for their turn, each time that it is asked; `None` once
    /// the store is gone.
    pub fn backlog(&self) -> impl Fn() -> Option<usize> + Send + 'static {
        self.lanes.backlog()
    }

    async fn submit(&self, wish: Wish, traceparent: String) -> Result<Verdict> {
        let span = tracing::info_span!("chat.append");
        let room_id = wish.room_id.clone();
        self.lanes.submit(&room_id, Item { wish, traceparent, span }).await
    }
}
