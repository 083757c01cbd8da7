//! The embedded database: one folder, one process, every commit on disk
//! before it is acknowledged (`WAL`, `synchronous=FULL`).
//!
//! One connection writes, because SQLite has one writer anyway and waiting in
//! our own queue is fair where its busy handler is not; several read, each in
//! its own snapshot.

mod folder;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use sqlx::{
    AssertSqlSafe, Connection as _, Row, Sqlite as Driver, SqliteConnection, SqlitePool,
    Transaction,
    pool::PoolConnectionMetadata,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{Error, ErrorKind, Result, Usage};

pub use folder::Folder;

/// The name of the database file in its folder.
pub const FILE: &str = "mingle.db";
const READERS: u32 = 4;
/// As for PostgreSQL: a caller waits this long for a connection, then is told.
const ACQUIRE: Duration = Duration::from_secs(5);

/// One step of a schema, applied once and never edited afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Grows by one from 1.
    pub version: i64,
    /// One or more statements.
    pub sql: &'static str,
}

/// What became of an owner's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version they were at; 0: there were none.
    pub from: i64,
    /// The version they are at.
    pub to: i64,
}

#[derive(Debug, thiserror::Error)]
#[error("the tables of {owner} are at version {from}, and this program knows {to}")]
struct Newer {
    owner: String,
    from: i64,
    to: i64,
}

impl Migrated {
    /// What `steps` make of tables at version `from`.
    ///
    /// **Errors**: `Unsupported` when there is no step to that version.
    pub(crate) fn of(owner: &str, from: i64, steps: &[Migration]) -> Result<Self> {
        let to = steps.last().map_or(0, |step| step.version);
        if from > to {
            let what = "the database is newer than this program";
            let newer = Newer { owner: owner.to_owned(), from, to };
            return Err(Error::with_source(ErrorKind::Unsupported, what, newer));
        }
        Ok(Self { from, to })
    }
}

/// An open database. Clones share it; the folder is free again when the last
/// one is dropped.
#[derive(Clone)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    dir: Arc<Path>,
    _lock: Arc<folder::Lock>,
}

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the folder.
    #[error("another process uses the data folder {0}")]
    Locked(PathBuf),
    /// The folder or its lock file cannot be made.
    #[error("cannot use the data folder {dir}")]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is there and cannot be used as a database.
    #[error("cannot open the database in {dir}")]
    Database {
        /// The folder.
        dir: PathBuf,
        /// The reason.
        #[source]
        source: Error,
    },
}

impl Sqlite {
    /// Opens or creates the database in `dir` and locks the folder for this
    /// process.
    pub async fn open(dir: &Path) -> Result<Self, OpenError> {
        let lock = folder::lock(dir)?;
        let database = |source: sqlx::Error| OpenError::Database {
            dir: dir.to_owned(),
            source: source.into(),
        };
        let options = SqliteConnectOptions::new()
            .filename(dir.join(FILE))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(ACQUIRE);
        // The file does not go away: connections need no test and no end.
        let pool = |max| {
            let options = SqlitePoolOptions::new().max_connections(max).acquire_timeout(ACQUIRE);
            options.test_before_acquire(false).idle_timeout(None).max_lifetime(None)
        };
        let writer = pool(1)
            .before_acquire(is_sound)
            .connect_with(options.clone())
            .await
            .map_err(database)?;
        let readers =
            pool(READERS).connect_with(options.read_only(true)).await.map_err(database)?;
        Ok(Self { writer, readers, dir: dir.into(), _lock: Arc::new(lock) })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Connections that only read, each statement in its own snapshot.
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Begins the one write transaction. It holds the write lock from the
    /// start, so what it reads is what it changes. Dropped, it rolls back.
    pub async fn begin(&self) -> Result<Transaction<'static, Driver>> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Begins a transaction that reads what was committed before its first
    /// statement, and nothing later.
    pub async fn snapshot(&self) -> Result<Transaction<'static, Driver>> {
        Ok(self.readers.begin().await?)
    }

    /// Brings the tables of `owner` to the newest version, in one transaction.
    ///
    /// **Errors**: `Unsupported` when the database is newer than this program.
    pub async fn migrate(&self, owner: &str, steps: &'static [Migration]) -> Result<Migrated> {
        let mut tx = self.begin().await?;
        sqlx::raw_sql(
            "create table if not exists schema_version
             (owner text primary key, version integer not null) strict",
        )
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query("select version from schema_version where owner = ?")
            .bind(owner)
            .fetch_optional(&mut *tx)
            .await?;
        let current: i64 = row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
        let migrated = Migrated::of(owner, current, steps)?;
        for step in steps.iter().filter(|step| step.version > current) {
            sqlx::raw_sql(AssertSqlSafe(step.sql)).execute(&mut *tx).await?;
        }
        sqlx::query(
            "insert into schema_version (owner, version) values (?, ?)
             on conflict (owner) do update set version = excluded.version",
        )
        .bind(owner)
        .bind(migrated.to)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(migrated)
    }

    pub(crate) fn usage(&self) -> Option<Vec<Usage>> {
        [Usage::of("writer", &self.writer), Usage::of("readers", &self.readers)]
            .into_iter()
            .collect()
    }

    /// Closes the connections: the write-ahead log is checkpointed.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A full disk makes SQLite roll back by itself, which the driver does not
/// notice: a connection that believes to be in a transaction is replaced.
fn is_sound(
    connection: &mut SqliteConnection,
    _: PoolConnectionMetadata,
) -> BoxFuture<'_, sqlx::Result<bool>> {
    let is_sound = !connection.is_in_transaction();
    Box::pin(async move { Ok(is_sound) })
}
