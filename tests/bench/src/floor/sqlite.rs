//! Bare commits to SQLite, with the settings of the server and the tables of
//! its own database.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tempfile::TempDir;

use super::rows::{Row, Writer};
use crate::plan::Plan;

/// An empty database with one writer.
pub(crate) struct Database {
    connection: SqliteConnection,
    _folder: TempDir,
}

impl Database {
    /// Makes one with the same tables and indexes as in the database `like`.
    pub(crate) async fn open(plan: &Plan, like: &Path, tables: &[&str]) -> anyhow::Result<Self> {
        let folder = plan.data_folder()?;
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("floor.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        for sql in schema(like, tables).await? {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        }
        Ok(Self { connection, _folder: folder })
    }
}

impl Writer for Database {
    async fn commit(&mut self, row: Row, rows: Vec<Value>) -> anyhow::Result<()> {
        let statement = match row {
            Row::Message => include_str!("message.sql"),
            Row::Ticket => include_str!("ticket.sql"),
        };
        let count = rows.len() as u64;
        let rows = Value::Array(rows).to_string();
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query(statement).bind(rows).execute(&mut *transaction).await?;
        transaction.commit().await?;
        ensure!(done.rows_affected() == count, "not every row was inserted");
        Ok(())
    }
}

/// What makes `tables` and their indexes, tables first.
async fn schema(like: &Path, tables: &[&str]) -> anyhow::Result<Vec<String>> {
    let options = SqliteConnectOptions::new().filename(like).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let mut all = Vec::new();
    for table in tables {
        let statement = "select sql from sqlite_schema where tbl_name = ? and sql is not null
                         order by type = 'table' desc";
        let found: Vec<String> =
            sqlx::query_scalar(statement).bind(*table).fetch_all(&mut connection).await?;
        ensure!(!found.is_empty(), "{} has no table {table}", like.display());
        all.extend(found);
    }
    connection.close().await.context("cannot close the server's database")?;
    Ok(all)
}
