//! `Tickets` on SQLite.

use async_trait::async_trait;
use mingle_store::{
    Error, ErrorKind, Result,
    commit::{Lanes, MAX_BATCH},
    sqlite::{Migration, Sqlite},
};
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{
    rows,
    write::{GET, Write, Writer, Written},
};
use crate::{
    domain::{Match, Position, Ticket},
    store::{Created, End, Ended, Paired, Pairing, Tickets},
};

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("../../../migrations/sqlite/0001_tickets.sql") },
    Migration { version: 2, sql: include_str!("../../../migrations/sqlite/0002_retention.sql") },
];
const PARTNERS: &str = include_str!("../../../sql/sqlite/partners.sql");
const WAITING: &str = include_str!("../../../sql/sqlite/waiting.sql");
const OVERDUE_TIME: &str = include_str!("../../../sql/sqlite/overdue_time.sql");
const OVERDUE_LEASE: &str = include_str!("../../../sql/sqlite/overdue_lease.sql");
const ROOMLESS: &str = include_str!("../../../sql/sqlite/roomless.sql");
const ENDED: &str = include_str!("../../../sql/sqlite/ended.sql");
const UNTOLD: &str = include_str!("../../../sql/sqlite/untold.sql");
const RECENT_WAITS: &str = include_str!("../../../sql/sqlite/recent_waits.sql");

/// The rows in the embedded database.
pub struct SqliteTickets {
    database: Sqlite,
    lanes: Lanes<Writer>,
}

impl SqliteTickets {
    /// Brings the tables to the newest version and starts the writer.
    pub async fn open(database: Sqlite) -> Result<Self> {
        database.migrate("matchmaking", MIGRATIONS).await?;
        let writer = std::sync::Arc::new(Writer(database.clone()));
        Ok(Self { database, lanes: Lanes::start(writer, 1, MAX_BATCH) })
    }

    /// SQLite has one writer, so there is one lane and the key does not matter.
    async fn write(&self, write: Write, now_ms: i64) -> Result<Written> {
        self.lanes.submit("", (write, now_ms)).await
    }

    async fn overdue_by(&self, sql: &'static str, now_ms: i64, limit: u32) -> Result<Vec<String>> {
        let query = sqlx::query(sql).bind(now_ms).bind(limit);
        ids(&query.fetch_all(self.database.readers()).await?)
    }
}

#[async_trait]
impl Tickets for SqliteTickets {
    async fn create(&self, ticket: Ticket, now_ms: i64) -> Result<Created> {
        match self.write(Write::Create(Box::new(ticket)), now_ms).await? {
            Written::Created(created) => Ok(created),
            _ => Err(mixed()),
        }
    }

    async fn end(
        &self,
        ticket_id: &str,
        owner: Option<&str>,
        end: End,
        now_ms: i64,
    ) -> Result<Option<Ended>> {
        let (ticket_id, owner) = (ticket_id.to_owned(), owner.map(str::to_owned));
        match self.write(Write::End { ticket_id, owner, end }, now_ms).await? {
            Written::Ended(ended) => Ok(ended),
            _ => Err(mixed()),
        }
    }

    async fn pair(&self, pairing: Pairing, now_ms: i64) -> Result<Paired> {
        match self.write(Write::Pair(pairing), now_ms).await? {
            Written::Paired(paired) => Ok(paired),
            _ => Err(mixed()),
        }
    }

    async fn complete(&self, match_id: &str, room_id: &str, now_ms: i64) -> Result<Vec<Ticket>> {
        let (match_id, room_id) = (match_id.to_owned(), room_id.to_owned());
        match self.write(Write::Complete { match_id, room_id }, now_ms).await? {
            Written::Completed(tickets) => Ok(tickets),
            _ => Err(mixed()),
        }
    }

    async fn renew(&self, ticket_id: &str, lease_until: i64) -> Result<()> {
        let ticket_id = ticket_id.to_owned();
        self.write(Write::Renew { ticket_id, lease_until }, 0).await.map(drop)
    }

    async fn told(&self, ticket_ids: Vec<String>) -> Result<()> {
        self.write(Write::Told(ticket_ids), 0).await.map(drop)
    }

    async fn get(&self, ticket_ids: &[String]) -> Result<Vec<Ticket>> {
        let query = sqlx::query(GET).bind(rows::text(&ticket_ids)?);
        let found = query.fetch_all(self.database.readers()).await?;
        found.iter().map(rows::ticket).collect()
    }

    async fn partners(&self, pool: &str, user_id: &str, since_ms: i64) -> Result<Vec<String>> {
        let query = sqlx::query(PARTNERS).bind(pool).bind(user_id).bind(since_ms);
        let mut partners: Vec<String> = Vec::new();
        for row in query.fetch_all(self.database.readers()).await? {
            for user in rows::json::<Vec<String>>(&row, "user_ids")? {
                if user != user_id && !partners.contains(&user) {
                    partners.push(user);
                }
            }
        }
        Ok(partners)
    }

    async fn waiting(
        &self,
        pool: &str,
        after: Option<Position>,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Position>> {
        let (at, id) = after.map_or((i64::MIN, String::new()), |position| {
            (position.created_at, position.ticket_id.to_string())
        });
        let query = sqlx::query(WAITING).bind(pool).bind(at).bind(id).bind(before_ms).bind(limit);
        let found = query.fetch_all(self.database.readers()).await?;
        let position = |row: &SqliteRow| -> Result<Position> {
            let ticket_id: &str = row.try_get("ticket_id")?;
            Ok(Position { created_at: row.try_get("created_at")?, ticket_id: ticket_id.into() })
        };
        found.iter().map(position).collect()
    }

    async fn overdue(&self, now_ms: i64, limit: u32) -> Result<Vec<String>> {
        let mut found = self.overdue_by(OVERDUE_TIME, now_ms, limit).await?;
        found.extend(self.overdue_by(OVERDUE_LEASE, now_ms, limit).await?);
        found.sort();
        found.dedup();
        Ok(found)
    }

    async fn roomless(
        &self,
        after: Option<(i64, String)>,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Match>> {
        let (at, id) = after.unwrap_or((i64::MIN, String::new()));
        let query = sqlx::query(ROOMLESS).bind(at).bind(id).bind(before_ms).bind(limit);
        let found = query.fetch_all(self.database.readers()).await?;
        found.iter().map(rows::of).collect()
    }

    async fn untold(&self, pool: &str, before_ms: i64, limit: u32) -> Result<Vec<String>> {
        let query = sqlx::query(UNTOLD).bind(pool).bind(before_ms).bind(limit);
        ids(&query.fetch_all(self.database.readers()).await?)
    }

    async fn forget(&self, before_ms: i64, limit: u32) -> Result<()> {
        // Mostly there is nothing, and then nothing is written.
        let ended = sqlx::query(ENDED).bind(before_ms);
        if ended.fetch_optional(self.database.readers()).await?.is_some() {
            self.write(Write::Forget { before_ms, limit }, 0).await?;
        }
        Ok(())
    }

    async fn recent_waits(
        &self,
        pool: &str,
        since_ms: i64,
        limit: u32,
    ) -> Result<Vec<(String, i64, i64)>> {
        let query = sqlx::query(RECENT_WAITS).bind(pool).bind(since_ms).bind(limit);
        let found = query.fetch_all(self.database.readers()).await?;
        let wait = |row: &SqliteRow| -> Result<(String, i64, i64)> {
            Ok((row.try_get("match_id")?, row.try_get("ended_at")?, row.try_get("waited")?))
        };
        found.iter().rev().map(wait).collect()
    }

    async fn probe(&self) -> Result<()> {
        sqlx::query("select 1").execute(self.database.readers()).await?;
        Ok(())
    }
}

fn ids(rows: &[SqliteRow]) -> Result<Vec<String>> {
    rows.iter().map(|row| Ok(row.try_get("ticket_id")?)).collect()
}

fn mixed() -> Error {
    Error::new(ErrorKind::Corrupt, "the lane answered another writer")
}
