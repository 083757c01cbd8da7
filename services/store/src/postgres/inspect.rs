//! What a server says of itself, for whoever operates it. Nothing is changed.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Row as _,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time::{Instant, timeout};

use super::Postgres;
use crate::{
    Error, ErrorKind, Result,
    sqlite::{Migrated, Migration},
};

/// How long a notification may take.
const HEARD: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// `15.8 (Debian …)`.
    pub version: String,
    /// `on`, or stricter or laxer: `off` is refused at the start.
    pub synchronous_commit: String,
}

impl Postgres {
    /// Asks by the way of all statements.
    pub async fn inspect(&self) -> Result<Inspected> {
        let mut tx = self.snapshot().await?;
        let row = sqlx::raw_sql(
            "select current_setting('server_version') as version,
                    current_setting('synchronous_commit') as synchronous_commit",
        )
        .fetch_one(&mut *tx)
        .await?;
        let said = |name| Ok::<_, Error>(row.try_get::<String, _>(name)?);
        Ok(Inspected { version: said("version")?, synchronous_commit: said("synchronous_commit")? })
    }

    /// What [`Postgres::migrate`] would do; does none of it.
    ///
    /// **Errors**: `Unsupported` when the database is newer than this program.
    pub async fn pending(&self, owner: &str, steps: &[Migration]) -> Result<Migrated> {
        let mut tx = self.snapshot().await?;
        let there = sqlx::raw_sql("select to_regclass('schema_version') is not null as there");
        let mut from = 0;
        if there.fetch_one(&mut *tx).await?.try_get("there")? {
            let version = sqlx::query("select version from schema_version where owner = $1");
            let row = version.persistent(false).bind(owner).fetch_optional(&mut *tx).await?;
            from = row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
        }
        Migrated::of(owner, from, steps)
    }

    /// Listens past the pooler, notifies by the way of all statements, and
    /// answers how long that took; `None` when nothing came within 2 s, or when
    /// there is no way past it.
    pub async fn hears_itself(&self) -> Result<Option<Duration>> {
        if !self.may_listen() {
            return Ok(None);
        }
        let channel = format!("mingle_check_{:016x}", rand::random::<u64>());
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(self.options.acquire);
        let pool = pool.connect_lazy_with(self.direct());
        let late = |_| Error::new(ErrorKind::Timeout, "database connection");
        let mut listener = timeout(self.options.acquire, PgListener::connect_with(&pool))
            .await
            .map_err(late)??;
        listener.eager_reconnect(false);
        timeout(self.options.answer, listener.listen(&channel)).await.map_err(late)??;
        let begin = Instant::now();
        let mut tx = self.begin().await?;
        sqlx::raw_sql(AssertSqlSafe(format!("notify {channel}"))).execute(&mut *tx).await?;
        timeout(self.options.answer, tx.commit()).await.map_err(late)??;
        match timeout(HEARD, listener.try_recv()).await {
            Ok(heard) => Ok(heard?.map(|_| begin.elapsed())),
            Err(_) => Ok(None),
        }
    }
}
