//! `Tickets` on a database.

use async_trait::async_trait;
use mingle_store::{
    Database, Error, ErrorKind, Result,
    commit::{Lanes, MAX_BATCH},
    postgres::Postgres,
    sql,
    sql::{Migrations, Row, Sql},
    sqlite::{Migrated, Migration},
};

use super::{
    rows,
    write::{GET, Write, Writer, Written},
};
use crate::{
    domain::{Match, Position, State, Ticket},
    store::{Created, End, Ended, Paired, Pairing, Tickets},
};

const MIGRATIONS: Migrations = Migrations {
    sqlite: &[
        Migration { version: 1, sql: include_str!("../../../migrations/sqlite/0001_tickets.sql") },
        Migration {
            version: 2,
            sql: include_str!("../../../migrations/sqlite/0002_retention.sql"),
        },
        Migration {
            version: 3,
            sql: include_str!("../../../migrations/sqlite/0003_without_index.sql"),
        },
    ],
    postgres: &[
        Migration {
            version: 1,
            sql: include_str!("../../../migrations/postgres/0001_tickets.sql"),
        },
        Migration {
            version: 2,
            sql: include_str!("../../../migrations/postgres/0002_without_index.sql"),
        },
    ],
};
const STANDING: Sql = sql!("standing");
const PARTNERS: Sql = sql!("partners");
const WAITING: Sql = sql!("waiting");
const OVERDUE: Sql = sql!("overdue");
const ROOMLESS: Sql = sql!("roomless");
const ENDED: Sql = sql!("ended");
const UNTOLD: Sql = sql!("untold");
const PROVED: Sql = sql!("proved");
const PROBE: Sql = sql!("probe");
const RECENT_WAITS: Sql = sql!("recent_waits");

/// The rows in a database.
pub struct SqlTickets {
    database: Database,
    lanes: Lanes<Writer>,
}

/// Brings the tables to the newest version.
pub async fn migrate(database: &Database) -> Result<Migrated> {
    database.migrate("matchmaking", MIGRATIONS).await
}

/// What [`migrate`] would do.
pub async fn pending(database: &Postgres) -> Result<Migrated> {
    database.pending("matchmaking", MIGRATIONS.postgres).await
}

impl SqlTickets {
    /// Brings the tables to the newest version and starts the writer.
    pub async fn open(database: Database) -> Result<Self> {
        migrate(&database).await?;
        let writer = std::sync::Arc::new(Writer(database.clone()));
        Ok(Self { database, lanes: Lanes::start(writer, 1, MAX_BATCH) })
    }

    /// How many writes wait for their turn, each time that it is asked; `None` once
    /// the store is gone.
    pub fn backlog(&self) -> impl Fn() -> Option<usize> + Send + 'static {
        self.lanes.backlog()
    }

    /// There is one lane, so the key does not matter: SQLite has one writer, and
    /// what a batch locks in PostgreSQL another batch of it would wait for.
    async fn write(&self, write: Write, now_ms: i64) -> Result<Written> {
        self.lanes.submit("", (write, now_ms)).await
    }
}

#[async_trait]
impl Tickets for SqlTickets {
    async fn create(&self, ticket: Ticket, now_ms: i64) -> Result<Created> {
        match self.write(Write::Create(Box::new(ticket)), now_ms).await? {
            Written::Created(created) => Ok(created),
            _ => Err(mixed()),
        }
    }

    async fn active(&self, pool: &str, user_id: &str, now_ms: i64) -> Result<Option<Ticket>> {
        let row = STANDING.bind(pool).bind(user_id).optional(&self.database).await?;
        let found = row.as_ref().map(rows::ticket).transpose()?;
        Ok(found.filter(|it| it.state == State::Matched || !it.is_overdue(now_ms)))
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
        let query = GET.bind(rows::text(&ticket_ids)?);
        let found = query.all(&self.database).await?;
        rows::tickets(&found)
    }

    async fn partners(&self, pool: &str, user_id: &str, since_ms: i64) -> Result<Vec<String>> {
        let query = PARTNERS.bind(pool).bind(user_id).bind(since_ms);
        let mut partners: Vec<String> = Vec::new();
        for row in query.all(&self.database).await? {
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
        let query = WAITING.bind(pool).bind(at).bind(id).bind(before_ms).bind(limit);
        let found = query.all(&self.database).await?;
        let position = |row: &Row| -> Result<Position> {
            let ticket_id: &str = row.get("ticket_id")?;
            Ok(Position { created_at: row.get("created_at")?, ticket_id: ticket_id.into() })
        };
        found.iter().map(position).collect()
    }

    async fn overdue(&self, now_ms: i64, leases_ms: i64, limit: u32) -> Result<Vec<String>> {
        let query = OVERDUE.bind(now_ms).bind(leases_ms).bind(limit);
        rows::ids(&query.all(&self.database).await?)
    }

    async fn roomless(
        &self,
        after: Option<(i64, String)>,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Match>> {
        let (at, id) = after.unwrap_or((i64::MIN, String::new()));
        let query = ROOMLESS.bind(at).bind(id).bind(before_ms).bind(limit);
        let found = query.all(&self.database).await?;
        found.iter().map(rows::of).collect()
    }

    async fn untold(&self, pool: &str, before_ms: i64, limit: u32) -> Result<Vec<String>> {
        let query = UNTOLD.bind(pool).bind(before_ms).bind(limit);
        rows::ids(&query.all(&self.database).await?)
    }

    async fn forget(&self, before_ms: i64, limit: u32) -> Result<()> {
        // Mostly there is nothing, and then nothing is written.
        let ended = ENDED.bind(before_ms);
        if ended.optional(&self.database).await?.is_some() {
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
        let query = RECENT_WAITS.bind(pool).bind(since_ms).bind(limit);
        let found = query.all(&self.database).await?;
        let wait = |row: &Row| -> Result<(String, i64, i64)> {
            Ok((row.get("match_id")?, row.get("ended_at")?, row.get("waited")?))
        };
        found.iter().rev().map(wait).collect()
    }

    async fn proved(&self, since_ms: i64, limit: u32) -> Result<Vec<String>> {
        rows::ids(&PROVED.bind(since_ms).bind(limit).all(&self.database).await?)
    }

    async fn probe(&self) -> Result<Option<i64>> {
        let row = PROBE.query().optional(&self.database).await?;
        row.map_or(Ok(None), |row| row.get("now"))
    }
}

fn mixed() -> Error {
    Error::new(ErrorKind::Corrupt, "the lane answered another writer")
}
