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
    clock::{Clock, Skew},
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

/// Who else is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Connections that this user may still open, by the least of the bounds of
    /// the server, the database and the user.
    pub left: i64,
    /// Connections that the server takes of all its users.
    pub most: i64,
    /// Connections that this process may open: the pool, LISTEN, and migrations.
    pub wanted: i64,
}

/// Connections beside the pool.
const BESIDE: i64 = 2;
/// The one that asks is not counted: it is this process's. The bounds of a user and
/// of a database are -1 where there are none.
const PLACES: &str = "
    with own as (select count(*) filter (where usename = current_user) as of_user,
                        count(*) filter (where datname = current_database()) as of_database
                 from pg_stat_activity),
    server as (select current_setting('max_connections')::bigint as most,
                      current_setting('superuser_reserved_connections')::bigint
                      + coalesce(current_setting('reserved_connections', true), '0')::bigint as kept,
                      (select coalesce(sum(numbackends), 0)::bigint from pg_stat_database) as used)
    select most, least(
        most - kept - used + 1,
        (select case when rolconnlimit < 0 then most else rolconnlimit - of_user + 1 end
         from pg_roles where rolname = current_user),
        (select case when datconnlimit < 0 then most else datconnlimit - of_database + 1 end
         from pg_database where datname = current_database())
    )::bigint as left from server, own";

impl Postgres {
    /// How far the server's clock is from `clock`.
    pub async fn skew(&self, clock: &dyn Clock) -> Result<Skew> {
        let mut tx = self.snapshot().await?;
        let asking = async {
            let time = "select (extract(epoch from clock_timestamp()) * 1000)::bigint as ms";
            Ok(sqlx::raw_sql(time).fetch_one(&mut *tx).await?.try_get("ms")?)
        };
        Skew::measure(clock, asking).await
    }

    /// Counts the connections of all.
    pub async fn places(&self, pool: u32) -> Result<Places> {
        let mut tx = self.snapshot().await?;
        let row = sqlx::raw_sql(PLACES).fetch_one(&mut *tx).await?;
        let wanted = i64::from(pool) + BESIDE;
        Ok(Places { left: row.try_get("left")?, most: row.try_get("most")?, wanted })
    }

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
