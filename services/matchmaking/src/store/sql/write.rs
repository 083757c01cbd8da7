//! Every change, as items of one group commit. Each item reads and writes in
//! one transaction that holds the rows it is about, so what it reads is what
//! it changes.

use async_trait::async_trait;
use mingle_store::{
    Database, Error, ErrorKind, Result,
    commit::Batch,
    sql,
    sql::{Sql, Tx},
};

use super::rows;
use crate::{
    domain::{Liveness, Match, State, Ticket},
    store::{Created, Differs, End, Ended, Paired, Pairing},
};

const LOCK: Sql = sql!("lock");
const CREATE: Sql = sql!("create");
const ACTIVE: Sql = sql!("active");
const ADOPT: Sql = sql!("adopt");
const END: Sql = sql!("end");
const MATCH: Sql = sql!("match");
const MATCH_TICKET: Sql = sql!("match_ticket");
const COMPLETE: Sql = sql!("complete");
const MEMBERS: Sql = sql!("members");
const RENEW: Sql = sql!("renew");
const FORGET_TICKETS: Sql = sql!("forget_tickets");
const FORGET_MATCHES: Sql = sql!("forget_matches");
const TOLD: Sql = sql!("told");
pub(super) const GET: Sql = sql!("get");

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
pub(super) struct Writer(pub(super) Database);

#[async_trait]
impl Batch for Writer {
    type Item = (Write, i64);
    type Outcome = Written;

    async fn run(&self, items: &[Self::Item]) -> Result<Vec<Written>> {
        let mut tx = self.0.begin().await?;
        lock(&mut tx, items).await?;
        let mut order: Vec<_> = items.iter().enumerate().collect();
        order.sort_by_key(|(_, (write, _))| write.rank());
        let mut outcomes = Vec::with_capacity(items.len());
        for (at, (write, now)) in order {
            outcomes.push((at, apply(&mut tx, write, *now).await?));
        }
        tx.commit().await?;
        outcomes.sort_by_key(|(at, _)| *at);
        Ok(outcomes.into_iter().map(|(_, written)| written).collect())
    }
}

impl Write {
    /// Batches of two processes come to the rows that they do not lock before
    /// in one order, so that they never wait for each other.
    fn rank(&self) -> (u8, &str, &str) {
        match self {
            Self::Create(ticket) => (0, &ticket.pool, &ticket.user_id),
            Self::Complete { match_id, .. } => (1, match_id, ""),
            _ => (2, "", ""),
        }
    }
}

/// Holds every ticket that the batch is about, in the order of their ids.
async fn lock(tx: &mut Tx, items: &[(Write, i64)]) -> Result<()> {
    let mut tickets: Vec<&str> = Vec::new();
    let mut users: Vec<(&str, &str)> = Vec::new();
    for (write, _) in items {
        match write {
            Write::Create(ticket) => users.push((&ticket.pool, &ticket.user_id)),
            Write::End { ticket_id, .. } | Write::Renew { ticket_id, .. } => {
                tickets.push(ticket_id)
            }
            Write::Pair(Pairing { ticket_ids, .. }) | Write::Told(ticket_ids) => {
                tickets.extend(ticket_ids.iter().map(String::as_str));
            }
            Write::Complete { .. } | Write::Forget { .. } => {}
        }
    }
    if tickets.is_empty() && users.is_empty() {
        return Ok(());
    }
    LOCK.bind(rows::text(&tickets)?).bind(rows::text(&users)?).execute(tx).await?;
    Ok(())
}

async fn apply(tx: &mut Tx, write: &Write, now: i64) -> Result<Written> {
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
            let query = RENEW.bind(ticket_id).bind(*lease_until);
            query.execute(tx).await?;
            Ok(Written::Noted)
        }
        Write::Forget { before_ms, limit } => {
            for statement in [FORGET_TICKETS, FORGET_MATCHES] {
                statement.bind(*before_ms).bind(*limit).execute(&mut *tx).await?;
            }
            Ok(Written::Noted)
        }
        Write::Told(ticket_ids) => {
            TOLD.bind(rows::text(ticket_ids)?).execute(tx).await?;
            Ok(Written::Noted)
        }
    }
}

async fn create(tx: &mut Tx, ticket: &Ticket, now: i64) -> Result<Created> {
    if insert(tx, ticket).await? {
        return Ok(Created::New { overdue: None });
    }
    let query = ACTIVE.bind(&ticket.pool).bind(&ticket.user_id);
    let Some(row) = query.optional(&mut *tx).await? else {
        return Err(Error::new(ErrorKind::Conflict, "a ticket that ended meanwhile"));
    };
    let active = rows::ticket(&row)?;
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
    let query = ADOPT
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

async fn insert(tx: &mut Tx, ticket: &Ticket) -> Result<bool> {
    let query = CREATE
        .bind(&ticket.ticket_id)
        .bind(&ticket.user_id)
        .bind(&ticket.pool)
        .bind(rows::text(&ticket.content.attributes)?)
        .bind(rows::text(&ticket.content.wants)?)
        .bind(rows::liveness_text(ticket.liveness))
        .bind(ticket.lease_until)
        .bind(ticket.created_at)
        .bind(ticket.expires_at);
    Ok(query.execute(tx).await? == 1)
}

async fn finish(
    tx: &mut Tx,
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
        End::Unfit => (State::Expired, "expired"),
        End::Gone if ticket.liveness == Liveness::Presence => (State::Expired, "expired"),
        End::Overdue if is_overdue(&ticket, now) => (State::Expired, "expired"),
        End::Gone | End::Overdue => return Ok(Some(Ended { ticket, changed: false })),
    };
    if !set(tx, ticket_id, text, now).await? {
        return Ok(Some(Ended { ticket, changed: false }));
    }
    let ticket = Ticket { state, ended_at: Some(now), ..ticket };
    Ok(Some(Ended { ticket, changed: true }))
}

async fn pair(tx: &mut Tx, pairing: &Pairing, now: i64) -> Result<Paired> {
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
    let query = MATCH
        .bind(&pairing.match_id)
        .bind(&pairing.pool)
        .bind(rows::text(&pairing.ticket_ids)?)
        .bind(rows::text(&user_ids)?)
        .bind(now);
    query.execute(&mut *tx).await?;
    for id in &ids {
        let query = MATCH_TICKET.bind(*id).bind(&pairing.match_id).bind(now);
        if query.execute(&mut *tx).await? != 1 {
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

async fn complete(tx: &mut Tx, match_id: &str, room_id: &str, now: i64) -> Result<Vec<Ticket>> {
    let query = COMPLETE.bind(match_id).bind(room_id).bind(now);
    query.execute(&mut *tx).await?;
    let Some(row) = MEMBERS.bind(match_id).optional(&mut *tx).await? else {
        return Ok(Vec::new());
    };
    let ids: Vec<String> = rows::json(&row, "ticket_ids")?;
    get(tx, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn get(tx: &mut Tx, ticket_ids: &[&str]) -> Result<Vec<Ticket>> {
    let found = GET.bind(rows::text(&ticket_ids)?).all(tx).await?;
    found.iter().map(rows::ticket).collect()
}

async fn set(tx: &mut Tx, ticket_id: &str, state: &str, now: i64) -> Result<bool> {
    let query = END.bind(ticket_id).bind(state).bind(now);
    Ok(query.execute(tx).await? == 1)
}

pub(super) fn is_overdue(ticket: &Ticket, now: i64) -> bool {
    ticket.state == State::Waiting
        && (ticket.expires_at <= now || ticket.lease_until.is_some_and(|until| until <= now))
}
