//! Bare commits to SQLite, with the settings of the server and the tables of
//! its own database.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tempfile::TempDir;

use crate::plan::Plan;

/// Rows of one grouped commit at most, as the server's.
pub(crate) const GROUP: usize = 256;

/// A row of what the server appends for one message.
pub(crate) const MESSAGE: &str = include_str!("message.sql");
/// A row of what the server inserts for one join.
pub(crate) const TICKET: &str = include_str!("ticket.sql");

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

    /// Inserts `rows` by `statement` in one transaction, on disk when this
    /// returns.
    pub(crate) async fn commit(
        &mut self,
        statement: &'static str,
        rows: Vec<Value>,
    ) -> anyhow::Result<()> {
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

/// Message `n` of the room number `room`, as long as the server's rows are.
pub(crate) fn message(room: u64, n: u64, body: &str) -> Value {
    json!({
        "room_id": id(room), "seq": n, "id": id(n), "kind": 1, "actor": format!("user-{room}"),
        "client_msg_id": n.to_string(), "body_hash": "5a".repeat(32), "body": body,
        "message_no": n, "sent_at": 1_700_000_000_000_u64 + n, "trace_id": "5a".repeat(16),
    })
}

/// The ticket of join `n`.
pub(crate) fn ticket(n: u64) -> Value {
    json!({
        "ticket_id": id(n), "user_id": format!("user-{n}"), "pool": "random-chat",
        "attributes": r#"{"gender":"female"}"#, "created_at": 1_700_000_000_000_u64 + n,
        "expires_at": 1_700_000_600_000_u64 + n,
    })
}

/// As long as a UUID and, as version 7, growing.
fn id(n: u64) -> String {
    format!("{:08x}-{:04x}-7000-8000-5a5a5a5a5a5a", n >> 16, n & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn ids_grow_and_are_as_long_as_uuids() {
        let ids: Vec<_> = (0..100_000).step_by(1111).map(id).collect();
        assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == 36));
    }
}
