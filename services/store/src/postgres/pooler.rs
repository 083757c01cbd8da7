//! A pooler that the URL does not tell of: PgBouncer before a server, and no
//! `DATABASE_DIRECT_URL`, or one that leads to a pooler, too.
//!
//! Taken for a server it would give one caller the statements of another. It is
//! told by the settings of a session, which it refuses, or drops where it was
//! told to ignore them.

use sqlx::{ConnectOptions as _, Connection as _, Row as _, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{
    gate::greet,
    options::{Options, Ways, parse},
};
use crate::{Error, ErrorKind, Result};

/// True when a pooler answers at `way`, which tells of the settings of a session.
pub(super) async fn is_pooler(way: &PgConnectOptions, options: &Options) -> Result<bool> {
    match greet(way, options.acquire).await {
        Err(error) if refuses_settings(&error) => Ok(true),
        greeted => {
            greeted?;
            drops_settings(way, options).await
        }
    }
}

/// False when the direct way leads to a pooler, too. While nobody answers there
/// it is taken for what it is said to be.
pub(super) async fn passes(ways: &Ways, options: &Options) -> bool {
    let direct = ways.direct.clone().options(options.settings());
    let passes = !matches!(is_pooler(&direct, options).await, Ok(true));
    if !passes {
        tracing::warn!(
            "DATABASE_DIRECT_URL leads to a pooler, not past it: nothing is heard by PostgreSQL, \
             and without Redis messages arrive up to 6 s late"
        );
    }
    passes
}

/// True when the settings were refused.
fn refuses_settings(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let refusal = source.and_then(|source| source.downcast_ref::<sqlx::Error>());
    matches!(refusal, Some(sqlx::Error::Database(said)) if said.message().contains("unsupported startup"))
}

/// True when a session, begun with them, has them not.
async fn drops_settings(way: &PgConnectOptions, options: &Options) -> Result<bool> {
    let asking = async {
        let mut session = way.connect().await?;
        let row = sqlx::raw_sql(
            "select string_agg(name || '=' || setting, ' ' order by name) as settings
             from pg_settings where name in ('statement_timeout', 'lock_timeout')",
        )
        .fetch_one(&mut session)
        .await?;
        // It has said what was asked: how it ends does not matter.
        let _ = session.close().await;
        let [statement, lock, ..] = options.settings().map(|(name, ms)| format!("{name}={ms}"));
        Ok(row.try_get::<String, _>("settings")? != format!("{lock} {statement}"))
    };
    match timeout(options.acquire, asking).await {
        Ok(asked) => asked,
        Err(_) => Err(Error::new(ErrorKind::Timeout, "database connection")),
    }
}

/// The way through the pooler, and no other one past it.
pub(super) fn ways_through(options: &Options) -> Result<Ways> {
    tracing::warn!(
        "DATABASE_URL leads to a pooler and no DATABASE_DIRECT_URL past it: nothing is heard by \
         PostgreSQL, and without Redis messages arrive up to 6 s late"
    );
    let pooled = parse(&options.url, "DATABASE_URL")?.statement_cache_capacity(0);
    Ok(Ways { direct: pooled.clone(), pooled, is_pooler: true, passes: false })
}
