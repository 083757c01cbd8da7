//! Rows to values and back. What is in the database and cannot be read is
//! `Corrupt`, never a guess.

use mingle_store::{Error, ErrorKind, Result};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, sqlite::SqliteRow};

use crate::domain::{Content, Liveness, Match, State, Ticket};

pub(super) fn ticket(row: &SqliteRow) -> Result<Ticket> {
    let match_id: Option<String> = row.try_get("match_id")?;
    let pool: String = row.try_get("pool")?;
    Ok(Ticket {
        ticket_id: row.try_get("ticket_id")?,
        user_id: row.try_get("user_id")?,
        content: Content { attributes: json(row, "attributes")?, wants: json(row, "wants")? },
        state: state(row.try_get("state")?)?,
        liveness: liveness(row.try_get("liveness")?)?,
        lease_until: row.try_get("lease_until")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        ended_at: row.try_get("ended_at")?,
        of: match_id.map(|_| of(row)).transpose()?,
        told: row.try_get::<i64, _>("told")? != 0,
        pool,
    })
}

pub(super) fn of(row: &SqliteRow) -> Result<Match> {
    Ok(Match {
        match_id: row.try_get("match_id")?,
        pool: row.try_get("pool")?,
        ticket_ids: json(row, "ticket_ids")?,
        user_ids: json(row, "user_ids")?,
        created_at: row.try_get("matched_at")?,
        room_id: row.try_get("room_id")?,
    })
}

pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T> {
    let text: &str = row.try_get(column)?;
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

fn liveness(text: &str) -> Result<Liveness> {
    match text {
        "presence" => Ok(Liveness::Presence),
        "lease" => Ok(Liveness::Lease),
        _ => Err(Error::new(ErrorKind::Corrupt, "ticket liveness")),
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
