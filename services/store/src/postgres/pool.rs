//! The pool: connections that are tested, transactions that are bounded.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use sqlx::{
    AssertSqlSafe, Connection as _, PgPool, Transaction,
    error::DatabaseError,
    pool::PoolConnectionMetadata,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};
use tokio::time::timeout;

use super::{
    gate::{Gate, greet},
    options::{Options, Ways, check},
    pooler::{is_pooler, passes, ways_through},
    pools::{Alive, Pools},
};
use crate::{Error, ErrorKind, Result, Usage, patience::Patience};

const IDLE: Duration = Duration::from_secs(30);
/// A connection unused for longer is tested before it is used.
const FRESH: Duration = Duration::from_secs(1);

const WRITE: &str = "begin isolation level read committed read write";
/// Begun to write, which a standby refuses: a pooler may lead there any time,
/// and what it reads there may be old.
const SNAPSHOT: &str =
    "begin isolation level repeatable read read write; set transaction read only";

/// A server and a pool of connections to it. Cheap to clone.
#[derive(Clone)]
pub struct Postgres {
    pub(super) options: Arc<Options>,
    pub(super) ways: Arc<Ways>,
    pools: Arc<Pools>,
    gate: Gate,
}

impl Postgres {
    /// Reaches the server and asks whether it may be trusted. Waits up to
    /// [`Options::start`] for one that is away, with a line in the log per try.
    ///
    /// **Errors**: `Unavailable` when it stays away; at once `Unsupported` when
    /// the URL or the login is wrong, when it is older than 15, or when it has
    /// `synchronous_commit=off`.
    pub async fn connect(options: Options) -> Result<Self> {
        let mut ways = options.ways()?;
        let (host, port) = (ways.pooled.get_host().to_owned(), ways.pooled.get_port());
        let tell = |error: &Error| {
            let source = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(host, port, %error, source, "postgres is away, trying again");
        };
        let patience = Patience::of(options.start);
        while let Err(error) = meet(&mut ways, &options).await {
            patience.outlast(error, &tell).await?;
        }
        let (options, ways) = (Arc::new(options), Arc::new(ways));
        let pools = Pools::start(&options, &ways);
        let gate = Gate::start(ways.pooled.clone(), options.silence, &pools);
        Ok(Self { options, ways, pools, gate })
    }

    /// The pool, for statements that only read, each in its own snapshot. They
    /// are the caller's to bound: see [`within`]; and not for a pooler: see
    /// [`Postgres::is_pooled`].
    pub fn readers(&self) -> &PgPool {
        self.pools.pool()
    }

    /// Begins a transaction that writes, `READ COMMITTED`. Dropped, it rolls
    /// back.
    ///
    /// **Errors**: `Unavailable`, also when no connection is free in time, and when
    /// the server does not answer: nothing was begun then, and the outcome known.
    pub async fn begin(&self) -> Result<Transaction<'static, sqlx::Postgres>> {
        self.transaction(WRITE).await
    }

    /// Begins a transaction that reads what was committed before its first
    /// statement, and nothing later.
    ///
    /// **Errors**: as [`Postgres::begin`].
    pub async fn snapshot(&self) -> Result<Transaction<'static, sqlx::Postgres>> {
        self.transaction(SNAPSHOT).await
    }

    /// The way past a pooler, for LISTEN and session locks: a connection of the
    /// caller's own, with no bound on its statements.
    pub fn direct(&self) -> PgConnectOptions {
        self.ways.direct.clone()
    }

    /// False where [`Postgres::direct`] leads through a transaction pooler all
    /// the same, because there is no other way: nobody may LISTEN there.
    pub fn may_listen(&self) -> bool {
        self.ways.passes
    }

    pub(crate) fn usage(&self) -> Option<Vec<Usage>> {
        Some(vec![Usage::of("shared", self.readers())?])
    }

    /// Of a start, as long as [`Postgres::connect`] waits.
    pub(crate) fn patience(&self) -> Patience {
        Patience::of(self.options.start)
    }

    /// Whether it is worth asking.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// How long a statement may take: the bound for [`within`].
    pub fn answer(&self) -> Duration {
        self.options.answer
    }

    /// True when a transaction pooler stands between, which may give each
    /// transaction another server session. The driver parses a statement in one
    /// turn and executes it in the next, so there a statement outside of a
    /// transaction executes whatever another caller left parsed in the session
    /// (seen: most answers wrong under load). Each must be in a transaction, and
    /// not `persistent`, because its name may be taken.
    pub fn is_pooled(&self) -> bool {
        self.ways.is_pooler
    }

    /// Closes the connections. Those that do not come back in time are left to
    /// the end of the process.
    pub async fn close(&self) {
        let _ = timeout(self.options.answer, self.readers().close()).await;
    }

    async fn transaction(
        &self,
        begin: &'static str,
    ) -> Result<Transaction<'static, sqlx::Postgres>> {
        let mut sql = begin.to_owned();
        if self.ways.is_pooler {
            for (name, value) in self.options.settings() {
                sql.push_str(&format!("; set local {name} = {value}"));
            }
        }
        let pool = self.readers().clone();
        let bound = self.options.acquire + self.options.answer;
        let begun = async {
            // In a task, because a BEGIN must not be dropped half way: the driver
            // would put the connection back with a transaction that it does not
            // know of, and the next statement would run in it, uncommitted. None
            // is begun while the gate is closed, or they would wait there in
            // number for a server that is away, and storm it when it is back.
            let begun = tokio::spawn(async move { pool.begin_with(AssertSqlSafe(sql)).await });
            match timeout(bound, begun).await {
                Ok(Ok(begun)) => begun.map_err(not_begun),
                Ok(Err(_)) => Err(Error::new(ErrorKind::Unavailable, "database transaction")),
                Err(_) => Err(Error::new(ErrorKind::Timeout, "database transaction")),
            }
        };
        self.gate.pass(begun).await.map_err(|error| match error.kind() {
            // Whatever became of the BEGIN, nothing was asked in it.
            ErrorKind::Timeout => {
                Error::with_source(ErrorKind::Unavailable, "database transaction", error).undone()
            }
            _ => error,
        })
    }
}

/// Greets the server, and finds a pooler that nobody told of.
async fn meet(ways: &mut Ways, options: &Options) -> Result<()> {
    if ways.is_pooler {
        greet(&ways.pooled, options.acquire).await?;
        ways.passes = ways.passes && passes(ways, options).await;
    } else if is_pooler(&ways.pooled, options).await? {
        *ways = ways_through(options)?;
        greet(&ways.pooled, options.acquire).await?;
    }
    Ok(())
}

/// Why a transaction was not begun.
pub(super) fn not_begun(error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(DatabaseError::code);
    if code.as_deref() == Some("0A000") {
        // "cannot set transaction read-write mode during recovery"
        return Error::with_source(ErrorKind::Unavailable, crate::why::STANDBY, error);
    }
    error.into()
}

/// Awaits what a database was asked, for so long at most. What is dropped then
/// may still be executed, and its connection is not used again before the
/// server has answered.
///
/// **Errors**: those of `work`; `Timeout` when `bound` has passed.
pub async fn within<T>(bound: Duration, work: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    match timeout(bound, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::new(ErrorKind::Timeout, "database answer")),
    }
}

pub(super) fn pool(options: &Options, alive: &Alive) -> PgPoolOptions {
    let (answer, acquire) = (options.answer, options.acquire);
    let (came, back) = (alive.clone(), alive.clone());
    PgPoolOptions::new()
        .max_connections(options.max_connections.max(1))
        .acquire_timeout(acquire)
        .idle_timeout(IDLE)
        .test_before_acquire(false)
        .after_connect(move |session, _| {
            let came = came.clone();
            Box::pin(async move {
                trusted(session).await?;
                came.note();
                Ok(())
            })
        })
        .before_acquire(|session, used| Box::pin(sound(session, used)))
        .after_release(move |session, _| settled(session, answer, back.clone()))
}

async fn trusted(session: &mut PgConnection) -> sqlx::Result<()> {
    check(session).await.map_err(|error| sqlx::Error::Configuration(Box::new(error)))
}

async fn sound(session: &mut PgConnection, used: PoolConnectionMetadata) -> sqlx::Result<bool> {
    if used.idle_for > FRESH {
        timeout(FRESH, session.ping()).await.map_err(elapsed)??;
    }
    Ok(true)
}

/// Reads what a dropped statement or rollback has still to answer, if there is
/// any: a server that never does must not hold a place in the pool.
fn settled(
    session: &mut PgConnection,
    bound: Duration,
    alive: Alive,
) -> BoxFuture<'_, sqlx::Result<bool>> {
    Box::pin(async move {
        timeout(bound, session.flush()).await.map_err(elapsed)??;
        alive.note();
        Ok(true)
    })
}

fn elapsed(_: tokio::time::error::Elapsed) -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}
