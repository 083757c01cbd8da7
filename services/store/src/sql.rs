//! One statement in the words of two drivers.
//!
//! PostgreSQL and its embedded twin SQLite keep the same tables; a service
//! names a statement once and has its text in `sql/postgres` and
//! `sql/sqlite`. What is bound and what is read is the same for both: texts
//! and whole numbers go in (a batch is one JSON text), texts, numbers, bytes
//! and booleans come out.

use std::time::Duration;

use futures::{StreamExt as _, stream::BoxStream};
use sqlx::{
    Decode, Postgres as Pg, Sqlite as Lite, SqlitePool, Transaction, Type,
    postgres::{PgArguments, PgConnection, PgRow},
    query::Query as Prepared,
    sqlite::{SqliteArguments, SqliteConnection, SqliteRow},
};

use crate::{
    Database, Error, Result,
    patience::Patience,
    postgres::{Gate, Postgres, within},
    sqlite::{Migrated, Migration},
};

/// A statement's texts. Made by [`sql!`](crate::sql!).
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    /// Its name: of the files, and in traces.
    pub name: &'static str,
    /// With `?1`, `?2` for what is bound.
    pub sqlite: &'static str,
    /// With `$1`, `$2` for what is bound.
    pub postgres: &'static str,
}

/// The statement of this name in the crate's folders `sql/sqlite` and
/// `sql/postgres`.
#[macro_export]
macro_rules! sql {
    ($name:literal) => {
        $crate::sql::Sql {
            name: $name,
            sqlite: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/sql/sqlite/",
                $name,
                ".sql"
            )),
            postgres: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/sql/postgres/",
                $name,
                ".sql"
            )),
        }
    };
}

/// The steps of one crate's tables, for each driver.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// For SQLite.
    pub sqlite: &'static [Migration],
    /// For PostgreSQL.
    pub postgres: &'static [Migration],
}

impl Sql {
    /// A run of the statement; bind what it takes, in order.
    pub fn query(self) -> Query {
        Query { sql: self, values: Vec::new() }
    }

    /// The same as [`Sql::query`] with the first value bound.
    pub fn bind(self, value: impl Into<Value>) -> Query {
        self.query().bind(value)
    }
}

/// What can be bound.
#[derive(Clone, Debug)]
pub enum Value {
    /// A text, or null.
    Text(Option<String>),
    /// A whole number, or null.
    Number(Option<i64>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

/// A statement with what is bound to it.
#[derive(Clone, Debug)]
pub struct Query {
    sql: Sql,
    values: Vec<Value>,
}

/// Expands to one arm per driver and kind of connection.
macro_rules! run {
    ($query:expr, $on:expr, $method:ident) => {
        match $on {
            On::SqlitePool(pool) => Ok($query.sqlite().$method(pool).await?.into()),
            On::Sqlite(connection) => Ok($query.sqlite().$method(connection).await?.into()),
            On::PgPool(database) if database.is_pooled() => {
                let (mut tx, terms) = (database.begin().await?, Terms::of(database));
                let done = terms.ask($query.postgres(&terms).$method(&mut *tx)).await?.into();
                terms.ask(tx.commit()).await?;
                Ok(done)
            }
            On::PgPool(database) => {
                let (pool, terms) = (database.readers(), Terms::of(database));
                terms.ask($query.postgres(&terms).$method(pool)).await.map(Into::into)
            }
            On::Pg(connection, terms) => {
                terms.ask($query.postgres(&terms).$method(connection)).await.map(Into::into)
            }
        }
    };
}

impl Query {
    /// Binds the next value.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Every row.
    pub async fn all<'c>(self, on: impl Into<On<'c>>) -> Result<Vec<Row>> {
        let rows: Result<Rows> = run!(self, on.into(), fetch_all);
        Ok(rows?.0)
    }

    /// The row, if there is one.
    pub async fn optional<'c>(self, on: impl Into<On<'c>>) -> Result<Option<Row>> {
        let row: Result<Maybe> = run!(self, on.into(), fetch_optional);
        Ok(row?.0)
    }

    /// Runs it; answers how many rows it changed. A driver that does not need
    /// the statement has an empty file for it, and is not asked.
    pub async fn execute<'c>(self, on: impl Into<On<'c>>) -> Result<u64> {
        let on = on.into();
        let text = if on.is_sqlite() { self.sql.sqlite } else { self.sql.postgres };
        if text.is_empty() {
            return Ok(0);
        }
        let changed: Result<Changed> = run!(self, on, execute);
        Ok(changed?.0)
    }

    /// Rows one at a time; what is not asked for is not decoded.
    pub fn stream<'c>(self, on: impl Into<On<'c>>) -> BoxStream<'c, Result<Row>> {
        match on.into() {
            On::SqlitePool(pool) => self.sqlite().fetch(pool).map(row).boxed(),
            On::Sqlite(connection) => self.sqlite().fetch(connection).map(row).boxed(),
            On::PgPool(database) if database.is_pooled() => {
                let rows = async move { gathered(self.all(On::PgPool(database)).await) };
                futures::stream::once(rows).flatten().boxed()
            }
            On::PgPool(database) => {
                let terms = Terms::of(database);
                let rows = self.postgres(&terms).fetch(database.readers());
                bounded(terms, rows)
            }
            On::Pg(connection, terms) => {
                let rows = self.postgres(&terms).fetch(connection);
                bounded(terms, rows)
            }
        }
    }

    fn sqlite(self) -> Prepared<'static, Lite, SqliteArguments> {
        let prepared = sqlx::query(self.sql.sqlite);
        self.values.into_iter().fold(prepared, |prepared, value| match value {
            Value::Text(text) => prepared.bind(text),
            Value::Number(number) => prepared.bind(number),
        })
    }

    fn postgres(self, terms: &Terms) -> Prepared<'static, Pg, PgArguments> {
        let prepared = sqlx::query(self.sql.postgres).persistent(terms.persistent);
        self.values.into_iter().fold(prepared, |prepared, value| match value {
            Value::Text(text) => prepared.bind(text),
            Value::Number(number) => prepared.bind(number),
        })
    }
}

/// Rows that are all there already, or why they are not.
fn gathered(rows: Result<Vec<Row>>) -> BoxStream<'static, Result<Row>> {
    match rows {
        Ok(rows) => futures::stream::iter(rows).map(Ok).boxed(),
        Err(error) => futures::stream::iter([Err(error)]).boxed(),
    }
}

/// The same rows, each asked for by itself.
fn bounded<'c>(
    terms: Terms,
    rows: BoxStream<'c, sqlx::Result<PgRow>>,
) -> BoxStream<'c, Result<Row>> {
    let next = |(terms, mut rows): (Terms, BoxStream<'c, sqlx::Result<PgRow>>)| async move {
        let next = terms.ask(async { rows.next().await.transpose() }).await.transpose()?;
        Some((next.map(Into::into), (terms, rows)))
    };
    futures::stream::unfold((terms, rows), next).boxed()
}

fn row<R: Into<Row>>(row: sqlx::Result<R>) -> Result<Row> {
    Ok(row.map(Into::into)?)
}

/// How PostgreSQL is asked.
#[derive(Clone, Debug)]
pub struct Terms {
    /// It answers within this time or not.
    answer: Duration,
    /// Unless it is away.
    gate: Gate,
    /// The session remembers the statement under a name.
    persistent: bool,
}

impl Terms {
    fn of(database: &Postgres) -> Self {
        let (answer, gate) = (database.answer(), database.gate().clone());
        Self { answer, gate, persistent: !database.is_pooled() }
    }

    async fn ask<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
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
    fn is_sqlite(&self) -> bool {
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
        match self {
            Self::Sqlite(tx) => Ok(tx.commit().await?),
            Self::Postgres(tx, terms) => terms.ask(tx.commit()).await,
        }
    }
}

impl Database {
    /// Begins a transaction that writes.
    ///
    /// **Errors**: undone, whichever it is.
    pub async fn begin(&self) -> Result<Tx> {
        let begun = match self {
            Self::Sqlite(database) => database.begin().await.map(Tx::Sqlite),
            Self::Postgres(database) => {
                database.begin().await.map(|tx| Tx::Postgres(tx, Terms::of(database)))
            }
        };
        begun.map_err(Error::undone)
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

/// A row of either driver.
pub enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

/// What a column can be read as.
pub trait Column<'r>: Decode<'r, Lite> + Type<Lite> + Decode<'r, Pg> + Type<Pg> {}

impl<'r, T: Decode<'r, Lite> + Type<Lite> + Decode<'r, Pg> + Type<Pg>> Column<'r> for T {}

impl Row {
    /// The column of this name.
    ///
    /// **Errors**: `Corrupt` when there is none, or it is something else.
    pub fn get<'r, T: Column<'r>>(&'r self, name: &str) -> Result<T> {
        Ok(match self {
            Self::Sqlite(row) => sqlx::Row::try_get(row, name)?,
            Self::Postgres(row) => sqlx::Row::try_get(row, name)?,
        })
    }
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Postgres(row)
    }
}

struct Rows(Vec<Row>);

impl<R: Into<Row>> From<Vec<R>> for Rows {
    fn from(rows: Vec<R>) -> Self {
        Self(rows.into_iter().map(Into::into).collect())
    }
}

struct Maybe(Option<Row>);

impl<R: Into<Row>> From<Option<R>> for Maybe {
    fn from(row: Option<R>) -> Self {
        Self(row.map(Into::into))
    }
}

struct Changed(u64);

impl From<sqlx::sqlite::SqliteQueryResult> for Changed {
    fn from(result: sqlx::sqlite::SqliteQueryResult) -> Self {
        Self(result.rows_affected())
    }
}

impl From<sqlx::postgres::PgQueryResult> for Changed {
    fn from(result: sqlx::postgres::PgQueryResult) -> Self {
        Self(result.rows_affected())
    }
}
