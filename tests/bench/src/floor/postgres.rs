//! Bare commits to PostgreSQL, on the server and to copies of the tables of the
//! system that was measured.

use anyhow::ensure;
use futures::future::try_join_all;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::rows::{Row, Writer};

/// A connection that writes to the copies.
pub(crate) struct Database(PgConnection);

impl Database {
    /// Copies the empty table with its indexes, in the same database, in place
    /// of the copy that was there, and opens `connections`.
    pub(crate) async fn open(url: &str, row: Row, connections: u32) -> anyhow::Result<Vec<Self>> {
        let table = match row {
            Row::Message => "chat_log",
            Row::Ticket => "mm_tickets",
        };
        let mut connection = PgConnection::connect(url).await?;
        let copy = format!(
            "drop table if exists floor_{table};
             create table floor_{table} (like {table} including all)"
        );
        sqlx::raw_sql(AssertSqlSafe(copy)).execute(&mut connection).await?;
        connection.close().await?;
        let opening = (0..connections).map(|_| PgConnection::connect(url));
        Ok(try_join_all(opening).await?.into_iter().map(Self).collect())
    }
}

impl Writer for Database {
    async fn commit(&mut self, row: Row, rows: Vec<Value>) -> anyhow::Result<()> {
        let statement = match row {
            Row::Message => include_str!("message.postgres.sql"),
            Row::Ticket => include_str!("ticket.postgres.sql"),
        };
        let count = rows.len() as u64;
        // A transaction of its own: BEGIN and COMMIT would be two more trips.
        let done = sqlx::query(statement)
            .bind(Value::Array(rows).to_string())
            .execute(&mut self.0)
            .await?;
        ensure!(done.rows_affected() == count, "not every row was inserted");
        Ok(())
    }
}
