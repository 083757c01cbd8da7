//! The one write path: a batch of wishes in one transaction, in as many
//! statements for many as for one. It holds the tickets that the batch is
//! about, so what it reads is what it changes.
//!
//! | what fails | what happens |
//! |---|---|
//! | two batches are about the same tickets | both hold them in the order of their ids: one waits |
//! | a ticket changes under one batch while the other waits to make that user's next | PostgreSQL breaks the circle after a second: `Conflict`, as below |
//! | another transaction makes a ticket for the same user meanwhile | `Conflict`: rolled back and run again, which finds it |
//! | the answer to the commit is lost | unknown; whoever asks again finds the rows: a ticket leaves waiting once, a match id is made once |

use std::collections::BTreeMap;

use async_trait::async_trait;
use mingle_store::{
    Database, Error, ErrorKind, Result,
    commit::Batch,
    sql,
    sql::{Row, Sql, Tx},
};

use super::{
    ledger::Ledger,
    records::{MatchRecord, RoomRecord, TicketRecord},
    rows,
};
use crate::{
    domain::Ticket,
    store::{Created, End, Ended, Paired, Pairing},
};

const HOLD: Sql = sql!("hold");
const PUT_MATCHES: Sql = sql!("put_matches");
const SET_TICKETS: Sql = sql!("set_tickets");
const PUT_TICKETS: Sql = sql!("put_tickets");
const SET_ROOMS: Sql = sql!("set_rooms");
const MEMBERS: Sql = sql!("members");
const FORGET_TICKETS: Sql = sql!("forget_tickets");
const FORGET_MATCHES: Sql = sql!("forget_matches");
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

/// The writer's side of the lane.
pub(super) struct Writer(pub(super) Database);

/// A wish, and the time it was wished at.
type Item = (Write, i64);

#[async_trait]
impl Batch for Writer {
    type Item = Item;
    type Outcome = Written;

    async fn run(&self, items: &[Item]) -> Result<Vec<Written>> {
        let mut tx = self.0.begin().await?;
        let written = write(&mut tx, items).await?;
        tx.commit().await?;
        Ok(written)
    }
}

async fn write(tx: &mut Tx, items: &[Item]) -> Result<Vec<Written>> {
    let mut ledger = Ledger::new(hold(tx, items).await?);
    let mut written: Vec<_> =
        items.iter().map(|(wish, now)| apply(&mut ledger, wish, *now)).collect();
    save(tx, &ledger).await?;
    complete(tx, items, &mut written).await?;
    for (wish, _) in items {
        if let Write::Forget { before_ms, limit } = wish {
            for statement in [FORGET_TICKETS, FORGET_MATCHES] {
                statement.bind(*before_ms).bind(*limit).execute(&mut *tx).await?;
            }
        }
    }
    Ok(written)
}

/// The tickets that the batch is about, read once they are held.
async fn hold(tx: &mut Tx, items: &[Item]) -> Result<Vec<Ticket>> {
    let mut tickets: Vec<&str> = Vec::new();
    let mut users: Vec<(&str, &str)> = Vec::new();
    for (wish, _) in items {
        match wish {
            Write::Create(ticket) => users.push((&ticket.pool, &ticket.user_id)),
            Write::End { ticket_id, .. } | Write::Renew { ticket_id, .. } => {
                tickets.push(ticket_id);
            }
            Write::Pair(Pairing { ticket_ids, .. }) | Write::Told(ticket_ids) => {
                tickets.extend(ticket_ids.iter().map(String::as_str));
            }
            Write::Complete { .. } | Write::Forget { .. } => {}
        }
    }
    if tickets.is_empty() && users.is_empty() {
        return Ok(Vec::new());
    }
    let held = HOLD.bind(rows::text(&tickets)?).bind(rows::text(&users)?).all(&mut *tx).await?;
    let held = rows::ids(&held)?;
    if held.is_empty() {
        return Ok(Vec::new());
    }
    rows::tickets(&GET.bind(rows::text(&held)?).all(tx).await?)
}

fn apply(ledger: &mut Ledger, wish: &Write, now: i64) -> Written {
    match wish {
        Write::Create(ticket) => Written::Created(ledger.create(ticket, now)),
        Write::End { ticket_id, owner, end } => {
            Written::Ended(ledger.end(ticket_id, owner.as_deref(), *end, now))
        }
        Write::Pair(pairing) => Written::Paired(ledger.pair(pairing, now)),
        Write::Renew { ticket_id, lease_until } => {
            ledger.renew(ticket_id, *lease_until);
            Written::Noted
        }
        Write::Told(ticket_ids) => {
            ledger.told(ticket_ids);
            Written::Noted
        }
        // Known once the rooms are noted.
        Write::Complete { .. } => Written::Completed(Vec::new()),
        Write::Forget { .. } => Written::Noted,
    }
}

/// Matches before the tickets that speak of them; what ended before what takes
/// its place.
async fn save(tx: &mut Tx, ledger: &Ledger) -> Result<()> {
    let matches: Vec<_> = ledger.matches().iter().map(MatchRecord::new).collect::<Result<_>>()?;
    if !matches.is_empty() {
        PUT_MATCHES.bind(rows::text(&matches)?).execute(&mut *tx).await?;
    }
    let changed: Vec<_> = ledger.changed().map(TicketRecord::new).collect::<Result<_>>()?;
    if !changed.is_empty() {
        let set = SET_TICKETS.bind(rows::text(&changed)?).execute(&mut *tx).await?;
        if set != changed.len() as u64 {
            return Err(Error::new(ErrorKind::Corrupt, "ticket left the queue while it was held"));
        }
    }
    let made: Vec<_> = ledger.made().map(TicketRecord::new).collect::<Result<_>>()?;
    if made.is_empty() {
        return Ok(());
    }
    let put = PUT_TICKETS.bind(rows::text(&made)?).execute(tx).await?;
    if put < made.len() as u64 {
        return Err(Error::new(ErrorKind::Conflict, "a ticket that another made meanwhile"));
    }
    Ok(())
}

/// Notes the rooms, and answers the tickets of each match.
async fn complete(tx: &mut Tx, items: &[Item], written: &mut [Written]) -> Result<()> {
    let mut rooms: BTreeMap<&str, RoomRecord<'_>> = BTreeMap::new();
    for (wish, now) in items {
        if let Write::Complete { match_id, room_id } = wish {
            rooms.entry(match_id).or_insert(RoomRecord { match_id, room_id, completed_at: *now });
        }
    }
    if rooms.is_empty() {
        return Ok(());
    }
    let records: Vec<_> = rooms.values().collect();
    SET_ROOMS.bind(rows::text(&records)?).execute(&mut *tx).await?;
    let ids: Vec<_> = rooms.keys().collect();
    let found: Vec<Row> = MEMBERS.bind(rows::text(&ids)?).all(tx).await?;
    let tickets = rows::tickets(&found)?;
    for ((wish, _), written) in items.iter().zip(written) {
        if let Write::Complete { match_id, .. } = wish {
            let member = |it: &&Ticket| it.of.as_ref().is_some_and(|of| of.match_id == *match_id);
            *written = Written::Completed(tickets.iter().filter(member).cloned().collect());
        }
    }
    Ok(())
}
