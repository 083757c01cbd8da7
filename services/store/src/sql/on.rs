//! Where a statement runs.

use std::time::{Duration, Instant};

use sqlx::{
    Postgres as Pg, Sqlite as Lite, SqlitePool, Transaction, postgres::PgConnection,
    sqlite::SqliteConnection,
};

use super::{Migrations, watch::Name};
use crate::{
    Database, Error, Result,
    patience::Patience,
    postgres::{Gate, Postgres, within},
    sqlite::Migrated,
};

/// It waits for a connection as well.
const BEGIN: Name = Name { owner: "", statement: "begin" };
const COMMIT: Name = Name { owner: "", statement: "commit" };

/// How PostgreSQL is asked.
#[derive(Clone, Debug)]
pub struct Terms {
    /// It answers within this time or not.
    answer: Duration,
    /// Unless it is away.
    gate: Gate,
    /// The session remembers the statement under a name.
    pub(super) persistent: bool,
}

impl Terms {
    pub(super) fn of(database: &Postgres) -> Self {
        let (answer, gate) = (database.answer(), database.gate().clone());
        Self { answer, gate, persistent: !database.is_pooled() }
    }

    pub(super) async fn ask<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
        self.gate.pass(within(self.answer, work)).await
    }
}

/// Where a statement runs: any connection of the database, each statement in
/// its own snapshot, or one transaction.
pub enum On<'c> {
    /// Any reading connection of SQLite.
    SqlitePool(&'c SqlitePool),
    /// A transaction of SQLite.
    Sqlite(&'c mut SqliteConnection),
    /// Any connection of PostgreSQL, and through a pooler a transaction of the
    /// statement's own.
    PgPool(&'c Postgres),
    /// A transaction of PostgreSQL.
    Pg(&'c mut PgConnection, Terms),
}

impl On<'_> {
    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self, Self::SqlitePool(_) | Self::Sqlite(_))
    }
}

impl<'c> From<&'c Database> for On<'c> {
    fn from(database: &'c Database) -> Self {
        match database {
            Database::Sqlite(database) => Self::SqlitePool(database.readers()),
            Database::Postgres(database) => Self::PgPool(database),
        }
    }
}

impl<'c> From<&'c mut Tx> for On<'c> {
    fn from(tx: &'c mut Tx) -> Self {
        match tx {
            Tx::Sqlite(tx) => Self::Sqlite(tx),
            Tx::Postgres(tx, terms) => Self::Pg(tx, terms.clone()),
        }
    }
}

/// A transaction. Dropped, it rolls back.
pub enum Tx {
    /// The one writer of SQLite, or a snapshot.
    Sqlite(Transaction<'static, Lite>),
    /// `READ COMMITTED` for writers: each statement sees what was committed
    /// before it. Each answers within the time or not.
    Postgres(Transaction<'static, Pg>, Terms),
}

impl Tx {
    /// Makes it durable. After a transient error it is unknown whether it is.
    pub async fn commit(self) -> Result<()> {
        let committed = async {
            match self {
                Self::Sqlite(tx) => Ok(tx.commit().await?),
                Self::Postgres(tx, terms) => terms.ask(tx.commit()).await,
            }
        };
        let begun = Instant::now();
        let done = COMMIT.watch(committed).await;
        metrics::histogram!("mingle_database_commit_seconds").record(begun.elapsed());
        done
    }
}

impl Database {
    /// Begins a transaction that writes.
    ///
    /// **Errors**: undone, whichever it is.
    pub async fn begin(&self) -> Result<Tx> {
        let begun = async {
            match self {
                Self::Sqlite(database) => database.begin().await.map(Tx::Sqlite),
                Self::Postgres(database) => {
                    database.begin().await.map(|tx| Tx::Postgres(tx, Terms::of(database)))
                }
            }
        };
        let asked = Instant::now();
        let done = BEGIN.watch(begun).await.map_err(Error::undone);
        metrics::histogram!("mingle_database_begin_seconds").record(asked.elapsed());
        done
    }

    /// Begins a transaction that reads one snapshot.
    pub async fn snapshot(&self) -> Result<Tx> {
        match self {
            Self::Sqlite(database) => database.snapshot().await.map(Tx::Sqlite),
            Self::Postgres(database) => {
                Ok(Tx::Postgres(database.snapshot().await?, Terms::of(database)))
            }
        }
    }

    /// Brings the tables of `owner` to the newest version; several processes
    /// may do so at once.
    pub async fn migrate(&self, owner: &str, steps: Migrations) -> Result<Migrated> {
        match self {
            Self::Sqlite(database) => database.migrate(owner, steps.sqlite).await,
            Self::Postgres(database) => database.migrate(owner, steps.postgres).await,
        }
    }

    /// How long a start waits for it.
    pub fn patience(&self) -> Patience {
        match self {
            Self::Sqlite(_) => Patience::of(Duration::ZERO),
            Self::Postgres(database) => database.patience(),
        }
    }

    /// Ends every connection.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(database) => database.close().await,
            Self::Postgres(database) => database.close().await,
        }
    }
}
