//! Rows to values and back. What is in the database and cannot be read is
//! `Corrupt`, never a guess.

use mingle_store::{Error, ErrorKind, Result, sql::Row};
use serde::{Serialize, de::DeserializeOwned};

use crate::domain::{Content, Liveness, Match, State, Ticket};

pub(super) fn ticket(row: &Row) -> Result<Ticket> {
    let match_id: Option<String> = row.get("match_id")?;
    let pool: String = row.get("pool")?;
    Ok(Ticket {
        ticket_id: row.get("ticket_id")?,
        user_id: row.get("user_id")?,
        content: Content { attributes: json(row, "attributes")?, wants: json(row, "wants")? },
        state: state(row.get("state")?)?,
        liveness: liveness(row.get("liveness")?)?,
        lease_until: row.get("lease_until")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        ended_at: row.get("ended_at")?,
        of: match_id.map(|_| of(row)).transpose()?,
        told: row.get("told")?,
        pool,
    })
}

pub(super) fn tickets(rows: &[Row]) -> Result<Vec<Ticket>> {
    rows.iter().map(ticket).collect()
}

pub(super) fn ids(rows: &[Row]) -> Result<Vec<String>> {
    rows.iter().map(|row| row.get("ticket_id")).collect()
}

pub(super) fn of(row: &Row) -> Result<Match> {
    Ok(Match {
        match_id: row.get("match_id")?,
        pool: row.get("pool")?,
        ticket_ids: json(row, "ticket_ids")?,
        user_ids: json(row, "user_ids")?,
        created_at: row.get("matched_at")?,
        room_id: row.get("room_id")?,
    })
}

pub(super) fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    let text: &str = row.get(column)?;
    serde_json::from_str(text)
        .map_err(|error| Error::with_source(ErrorKind::Corrupt, "ticket row", error))
}

/// Canonical: maps and sets are ordered.
pub(super) fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::with_source(ErrorKind::Unsupported, "ticket row", error))
}

pub(super) fn liveness_text(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Presence => "presence",
        Liveness::Lease => "lease",
    }
}

pub(super) fn liveness(text: &str) -> Result<Liveness> {
    match text {
        "presence" => Ok(Liveness::Presence),
        "lease" => Ok(Liveness::Lease),
        _ => Err(Error::new(ErrorKind::Corrupt, "ticket liveness")),
    }
}

pub(super) fn state_text(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Matched => "matched",
        State::Cancelled => "cancelled",
        State::Expired => "expired",
    }
}

fn state(text: &str) -> Result<State> {
    match text {
        "waiting" => Ok(State::Waiting),
        "matched" => Ok(State::Matched),
        "cancelled" => Ok(State::Cancelled),
        "expired" => Ok(State::Expired),
        _ => Err(Error::new(ErrorKind::Corrupt, "ticket state")),
    }
}
