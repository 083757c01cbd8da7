//! Tables brought to the newest version, by one process at a time.

use std::time::Duration;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};
use tokio::time::timeout;

use super::{Postgres, pool::not_begun};
use crate::{
    Error, ErrorKind, Result,
    sqlite::{Migrated, Migration},
};

/// How long a process waits for another that migrates, and then for itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the advisory lock that all owners share: "mingle" in ASCII.
const LOCK: i64 = 0x6d69_6e67_6c65;
/// What another process committed while this waited for its turn is seen.
const BEGIN: &str = "begin isolation level read committed read write; \
                     set local client_min_messages = warning";

impl Postgres {
    /// Brings the tables of `owner` to the newest version, in one transaction
    /// on the direct connection. Processes that do so at once take turns. Waits
    /// for a server that went away, as [`Postgres::connect`] does.
    ///
    /// **Errors**: `Unsupported` when the database is newer than this program;
    /// `Unavailable` when another process holds the turn for 60 s, or the server
    /// stays away; `Timeout`.
    pub async fn migrate(&self, owner: &str, steps: &'static [Migration]) -> Result<Migrated> {
        let patience = self.patience();
        loop {
            // What was committed without an answer is found by the next try.
            match self.try_migrate(owner, steps).await {
                Ok(migrated) => return Ok(migrated),
                Err(error) => patience.outlast(error, |error| tell(owner, error)).await?,
            }
        }
    }

    async fn try_migrate(&self, owner: &str, steps: &'static [Migration]) -> Result<Migrated> {
        let late = |_| Error::new(ErrorKind::Timeout, "database migration");
        let connecting = self.ways.direct.connect();
        let mut session = timeout(self.options.acquire, connecting).await.map_err(late)??;
        let migrated = timeout(PATIENCE * 2, step_up(&mut session, owner, steps)).await;
        let migrated = migrated.map_err(late)??;
        // What it was asked is committed: how it ends does not matter.
        let _ = timeout(self.options.answer, session.close()).await;
        Ok(migrated)
    }
}

fn tell(owner: &str, error: &Error) {
    tracing::warn!(owner, %error, "tables not brought up to date, trying again");
}

async fn step_up(
    session: &mut PgConnection,
    owner: &str,
    steps: &'static [Migration],
) -> Result<Migrated> {
    // Of the transaction, and no statement with a name: a session may be a
    // pooler's.
    let patience = PATIENCE.as_millis();
    let begin = format!("{BEGIN}; set local lock_timeout = {patience}");
    let mut tx = session.begin_with(AssertSqlSafe(begin)).await.map_err(not_begun)?;
    sqlx::query("select pg_advisory_xact_lock($1)")
        .persistent(false)
        .bind(LOCK)
        .execute(&mut *tx)
        .await?;
    sqlx::raw_sql(
        "create table if not exists schema_version
         (owner text primary key, version bigint not null)",
    )
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query("select version from schema_version where owner = $1")
        .persistent(false)
        .bind(owner)
        .fetch_optional(&mut *tx)
        .await?;
    let current: i64 = row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
    let migrated = Migrated::of(owner, current, steps)?;
    if migrated.from == migrated.to {
        return Ok(migrated);
    }
    for step in steps.iter().filter(|step| step.version > current) {
        sqlx::raw_sql(AssertSqlSafe(step.sql)).execute(&mut *tx).await?;
    }
    sqlx::query(
        "insert into schema_version (owner, version) values ($1, $2)
         on conflict (owner) do update set version = excluded.version",
    )
    .persistent(false)
    .bind(owner)
    .bind(migrated.to)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(migrated)
}
