//! Every change, as items of one group commit. Each item reads and writes in
//! the one write transaction, so what it reads is what it changes.

use async_trait::async_trait;
use mingle_store::{Error, ErrorKind, Result, commit::Batch, sqlite::Sqlite};
use sqlx::SqliteConnection;

use super::rows;
use crate::{
    domain::{Liveness, Match, State, Ticket},
    store::{Created, Differs, End, Ended, Paired, Pairing},
};

const CREATE: &str = include_str!("../../../sql/sqlite/create.sql");
const ACTIVE: &str = include_str!("../../../sql/sqlite/active.sql");
const ADOPT: &str = include_str!("../../../sql/sqlite/adopt.sql");
const END: &str = include_str!("../../../sql/sqlite/end.sql");
const MATCH: &str = include_str!("../../../sql/sqlite/match.sql");
const MATCH_TICKET: &str = include_str!("../../../sql/sqlite/match_ticket.sql");
const COMPLETE: &str = include_str!("../../../sql/sqlite/complete.sql");
const MEMBERS: &str = include_str!("../../../sql/sqlite/members.sql");
const RENEW: &str = include_str!("../../../sql/sqlite/renew.sql");
const FORGET_TICKETS: &str = include_str!("../../../sql/sqlite/forget_tickets.sql");
const FORGET_MATCHES: &str = include_str!("../../../sql/sqlite/forget_matches.sql");
const TOLD: &str = include_str!("../../../sql/sqlite/told.sql");
pub(super) const GET: &str = include_str!("../../../sql/sqlite/get.sql");

/// One writer's wish.
#[derive(Debug)]
pub(super) enum Write {
    Create(Box<Ticket>),
    End { ticket_id: String, owner: Option<String>, end: End },
    Pair(Pairing),
    Complete { match_id: String, room_id: String },
    Renew { ticket_id: String, lease_until: i64 },
    Told(Vec<String>),
    Forget { before_ms: i64, limit: u32 },
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Written {
    Created(Created),
    Ended(Option<Ended>),
    Paired(Paired),
    Completed(Vec<Ticket>),
    Noted,
}

/// The writer's side of the lane. An item carries the time it was wished at.
pub(super) struct Writer(pub(super) Sqlite);

#[async_trait]
impl Batch for Writer {
    type Item = (Write, i64);
    type Outcome = Written;

    async fn run(&self, items: &[Self::Item]) -> Result<Vec<Written>> {
        let mut tx = self.0.begin().await?;
        let mut outcomes = Vec::with_capacity(items.len());
        for (write, now) in items {
            outcomes.push(apply(&mut tx, write, *now).await?);
        }
        tx.commit().await?;
        Ok(outcomes)
    }
}

async fn apply(tx: &mut SqliteConnection, write: &Write, now: i64) -> Result<Written> {
    match write {
        Write::Create(ticket) => Ok(Written::Created(create(tx, ticket, now).await?)),
        Write::End { ticket_id, owner, end } => {
            Ok(Written::Ended(finish(tx, ticket_id, owner.as_deref(), *end, now).await?))
        }
        Write::Pair(pairing) => Ok(Written::Paired(pair(tx, pairing, now).await?)),
        Write::Complete { match_id, room_id } => {
            Ok(Written::Completed(complete(tx, match_id, room_id, now).await?))
        }
        Write::Renew { ticket_id, lease_until } => {
            let query = sqlx::query(RENEW).bind(ticket_id).bind(lease_until);
            query.execute(tx).await?;
            Ok(Written::Noted)
        }
        Write::Forget { before_ms, limit } => {
            for statement in [FORGET_TICKETS, FORGET_MATCHES] {
                sqlx::query(statement).bind(before_ms).bind(limit).execute(&mut *tx).await?;
            }
            Ok(Written::Noted)
        }
        Write::Told(ticket_ids) => {
            sqlx::query(TOLD).bind(rows::text(ticket_ids)?).execute(tx).await?;
            Ok(Written::Noted)
        }
    }
}

async fn create(tx: &mut SqliteConnection, ticket: &Ticket, now: i64) -> Result<Created> {
    if insert(tx, ticket).await? {
        return Ok(Created::New { overdue: None });
    }
    let row = sqlx::query(ACTIVE).bind(&ticket.pool).bind(&ticket.user_id);
    let active = rows::ticket(&row.fetch_one(&mut *tx).await?)?;
    if active.state == State::Matched {
        return Ok(Created::Existing(Box::new(active)));
    }
    if is_overdue(&active, now) {
        set(tx, &active.ticket_id, "expired", now).await?;
        if !insert(tx, ticket).await? {
            return Err(Error::new(ErrorKind::Corrupt, "two active tickets"));
        }
        let overdue = Ticket { state: State::Expired, ended_at: Some(now), ..active };
        return Ok(Created::New { overdue: Some(Box::new(overdue)) });
    }
    if active.content.attributes != ticket.content.attributes {
        return Ok(Created::Other { differs: Differs::Attributes });
    }
    if active.content.wants != ticket.content.wants {
        return Ok(Created::Other { differs: Differs::Wants });
    }
    let query = sqlx::query(ADOPT)
        .bind(&active.ticket_id)
        .bind(rows::liveness_text(ticket.liveness))
        .bind(ticket.lease_until);
    query.execute(&mut *tx).await?;
    let lease_until = match ticket.liveness {
        Liveness::Presence => None,
        Liveness::Lease => active.lease_until.max(ticket.lease_until),
    };
    let adopted = Ticket { liveness: ticket.liveness, lease_until, ..active };
    Ok(Created::Existing(Box::new(adopted)))
}

async fn insert(tx: &mut SqliteConnection, ticket: &Ticket) -> Result<bool> {
    let query = sqlx::query(CREATE)
        .bind(&ticket.ticket_id)
        .bind(&ticket.user_id)
        .bind(&ticket.pool)
        .bind(rows::text(&ticket.content.attributes)?)
        .bind(rows::text(&ticket.content.wants)?)
        .bind(rows::liveness_text(ticket.liveness))
        .bind(ticket.lease_until)
        .bind(ticket.created_at)
        .bind(ticket.expires_at);
    Ok(query.execute(tx).await?.rows_affected() == 1)
}

async fn finish(
    tx: &mut SqliteConnection,
    ticket_id: &str,
    owner: Option<&str>,
    end: End,
    now: i64,
) -> Result<Option<Ended>> {
    let Some(ticket) = get(tx, &[ticket_id]).await?.pop() else {
        return Ok(None);
    };
    if owner.is_some_and(|owner| owner != ticket.user_id) {
        return Ok(None);
    }
    let (state, text) = match end {
        End::Cancelled => (State::Cancelled, "cancelled"),
        End::Gone => (State::Expired, "expired"),
        End::Overdue if is_overdue(&ticket, now) => (State::Expired, "expired"),
        End::Overdue => return Ok(Some(Ended { ticket, changed: false })),
    };
    if !set(tx, ticket_id, text, now).await? {
        return Ok(Some(Ended { ticket, changed: false }));
    }
    let ticket = Ticket { state, ended_at: Some(now), ..ticket };
    Ok(Some(Ended { ticket, changed: true }))
}

async fn pair(tx: &mut SqliteConnection, pairing: &Pairing, now: i64) -> Result<Paired> {
    let ids: Vec<&str> = pairing.ticket_ids.iter().map(String::as_str).collect();
    let mut tickets = get(tx, &ids).await?;
    tickets.retain(|it| it.state == State::Waiting && !is_overdue(it, now));
    if tickets.len() < ids.len() {
        let waits = |id: &String| tickets.iter().any(|it| it.ticket_id == *id);
        let gone = pairing.ticket_ids.iter().filter(|id| !waits(id)).cloned().collect();
        return Ok(Paired::Refused(gone));
    }
    let mut user_ids: Vec<String> = tickets.iter().map(|it| it.user_id.clone()).collect();
    user_ids.sort();
    let query = sqlx::query(MATCH)
        .bind(&pairing.match_id)
        .bind(&pairing.pool)
        .bind(rows::text(&pairing.ticket_ids)?)
        .bind(rows::text(&user_ids)?)
        .bind(now);
    query.execute(&mut *tx).await?;
    for id in &ids {
        let query = sqlx::query(MATCH_TICKET).bind(id).bind(&pairing.match_id).bind(now);
        if query.execute(&mut *tx).await?.rows_affected() != 1 {
            return Err(Error::new(ErrorKind::Corrupt, "ticket left the queue while it was held"));
        }
    }
    let waits = tickets.iter().map(|it| now.saturating_sub(it.created_at)).collect();
    let of = Match {
        match_id: pairing.match_id.clone(),
        pool: pairing.pool.clone(),
        ticket_ids: pairing.ticket_ids.clone(),
        user_ids,
        created_at: now,
        room_id: None,
    };
    Ok(Paired::Matched(of, waits))
}

async fn complete(
    tx: &mut SqliteConnection,
    match_id: &str,
    room_id: &str,
    now: i64,
) -> Result<Vec<Ticket>> {
    let query = sqlx::query(COMPLETE).bind(match_id).bind(room_id).bind(now);
    query.execute(&mut *tx).await?;
    let Some(row) = sqlx::query(MEMBERS).bind(match_id).fetch_optional(&mut *tx).await? else {
        return Ok(Vec::new());
    };
    let ids: Vec<String> = rows::json(&row, "ticket_ids")?;
    get(tx, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn get(tx: &mut SqliteConnection, ticket_ids: &[&str]) -> Result<Vec<Ticket>> {
    let found = sqlx::query(GET).bind(rows::text(&ticket_ids)?).fetch_all(tx).await?;
    found.iter().map(rows::ticket).collect()
}

async fn set(tx: &mut SqliteConnection, ticket_id: &str, state: &str, now: i64) -> Result<bool> {
    let query = sqlx::query(END).bind(ticket_id).bind(state).bind(now);
    Ok(query.execute(tx).await?.rows_affected() == 1)
}

fn is_overdue(ticket: &Ticket, now: i64) -> bool {
    ticket.state == State::Waiting
        && (ticket.expires_at <= now || ticket.lease_until.is_some_and(|until| until <= now))
}
