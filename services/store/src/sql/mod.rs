//! One statement in the words of two drivers.
//!
//! PostgreSQL and its embedded twin SQLite keep the same tables; a service
//! names a statement once and has its text in `sql/postgres` and
//! `sql/sqlite`. What is bound and what is read is the same for both: texts
//! and whole numbers go in (a batch is one JSON text), texts, numbers, bytes
//! and booleans come out.

mod on;
mod row;
mod value;
mod watch;

use futures::{StreamExt as _, stream::BoxStream};
use sqlx::{
    Postgres as Pg, Sqlite as Lite,
    postgres::{PgArguments, PgRow},
    query::Query as Prepared,
    sqlite::SqliteArguments,
};

use self::{
    on::Terms,
    row::{Changed, Maybe, Rows},
    watch::{Name, Watched},
};
use crate::{Result, sqlite::Migration};

pub use on::{On, Tx};
pub use row::{Column, Row};
pub use value::Value;

/// A statement's texts. Made by [`sql!`](crate::sql!).
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    /// The package whose statement it is.
    pub owner: &'static str,
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
            owner: env!("CARGO_PKG_NAME"),
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
        let (name, on) = (self.name(), on.into());
        let rows: Rows = name.watch(async { run!(self, on, fetch_all) }).await?;
        Ok(rows.0)
    }

    /// The row, if there is one.
    pub async fn optional<'c>(self, on: impl Into<On<'c>>) -> Result<Option<Row>> {
        let (name, on) = (self.name(), on.into());
        let row: Maybe = name.watch(async { run!(self, on, fetch_optional) }).await?;
        Ok(row.0)
    }

    /// Runs it; answers how many rows it changed. A driver that does not need
    /// the statement has an empty file for it, and is not asked.
    pub async fn execute<'c>(self, on: impl Into<On<'c>>) -> Result<u64> {
        let on = on.into();
        let text = if on.is_sqlite() { self.sql.sqlite } else { self.sql.postgres };
        if text.is_empty() {
            return Ok(0);
        }
        let changed: Changed = self.name().watch(async { run!(self, on, execute) }).await?;
        Ok(changed.0)
    }

    /// Rows one at a time; what is not asked for is not decoded.
    pub fn stream<'c>(self, on: impl Into<On<'c>>) -> BoxStream<'c, Result<Row>> {
        Watched::new(self.name(), self.rows(on.into())).boxed()
    }

    fn name(&self) -> Name {
        Name { owner: self.sql.owner, statement: self.sql.name }
    }

    fn rows(self, on: On<'_>) -> BoxStream<'_, Result<Row>> {
        match on {
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
