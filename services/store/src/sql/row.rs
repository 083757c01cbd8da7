//! What a statement brings.

use sqlx::{
    Decode, Postgres as Pg, Sqlite as Lite, Type,
    postgres::{PgQueryResult, PgRow},
    sqlite::{SqliteQueryResult, SqliteRow},
};

use crate::Result;

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

pub(super) struct Rows(pub(super) Vec<Row>);

impl<R: Into<Row>> From<Vec<R>> for Rows {
    fn from(rows: Vec<R>) -> Self {
        Self(rows.into_iter().map(Into::into).collect())
    }
}

pub(super) struct Maybe(pub(super) Option<Row>);

impl<R: Into<Row>> From<Option<R>> for Maybe {
    fn from(row: Option<R>) -> Self {
        Self(row.map(Into::into))
    }
}

pub(super) struct Changed(pub(super) u64);

impl From<SqliteQueryResult> for Changed {
    fn from(result: SqliteQueryResult) -> Self {
        Self(result.rows_affected())
    }
}

impl From<PgQueryResult> for Changed {
    fn from(result: PgQueryResult) -> Self {
        Self(result.rows_affected())
    }
}
