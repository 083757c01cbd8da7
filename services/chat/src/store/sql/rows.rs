//! Rows and what they mean.

use std::collections::BTreeMap;

use mingle_store::{Error, ErrorKind, Result, sql::Row};

use crate::domain::{
    Change, CloseReason, Cursor, Event, First, Hash, Kind, Membership, Message, Position, Room,
    Target, View,
};

/// The number of a kind of room.
pub(super) fn kind_number(kind: Kind) -> i64 {
    match kind {
        Kind::Pair => 1,
        Kind::Direct => 2,
        Kind::Channel => 3,
    }
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

/// A number that is never below 0.
pub(super) fn unsigned<N: TryFrom<i64>>(row: &Row, column: &str) -> Result<N> {
    let number: i64 = row.get(column)?;
    N::try_from(number).map_err(|_| corrupt("number in a row of chat"))
}

fn hash(row: &Row, column: &str) -> Result<Hash> {
    let bytes: &[u8] = row.get(column)?;
    bytes.try_into().map_err(|_| corrupt("hash in a row of chat"))
}

pub(super) fn position(row: &Row, seq: &str, id: &str) -> Result<Position> {
    Ok(Position { seq: unsigned(row, seq)?, id: row.get(id)? })
}

pub(super) fn room(row: &Row) -> Result<Room> {
    let kind = match row.get("kind")? {
        1_i64 => Kind::Pair,
        2 => Kind::Direct,
        3 => Kind::Channel,
        _ => return Err(corrupt("kind of a room")),
    };
    Ok(Room {
        room_id: row.get("room_id")?,
        kind,
        name: row.get("name")?,
        creator: row.get("creator")?,
        external_id: row.get("external_id")?,
        origin: hash(row, "origin")?,
        closed: row.get("closed")?,
        created_at: row.get("created_at")?,
        last_active_at: row.get("last_active_at")?,
        head: position(row, "head_seq", "head_id")?,
        base: position(row, "base_seq", "base_id")?,
        message_no: unsigned(row, "message_no")?,
        member_count: unsigned(row, "member_count")?,
        rewritten_seq: unsigned(row, "rewritten_seq")?,
    })
}

pub(super) fn membership(row: &Row) -> Result<Membership> {
    let message_no = unsigned(row, "read_message_no")?;
    let left: Option<i64> = row.get("left_seq")?;
    Ok(Membership {
        user_id: row.get("user_id")?,
        joined_at: row.get("joined_at")?,
        joined_seq: unsigned(row, "joined_seq")?,
        left_at: row.get("left_at")?,
        left_seq: left.map(|_| unsigned(row, "left_seq")).transpose()?,
        read: Cursor { seq: unsigned(row, "read_seq")?, message_no },
    })
}

/// A membership that the row was joined with, if there is one.
pub(super) fn membership_if_any(row: &Row) -> Result<Option<Membership>> {
    let user: Option<&str> = row.get("user_id")?;
    user.map(|_| membership(row)).transpose()
}

/// A room joined with a membership that may not be.
pub(super) fn view(row: &Row) -> Result<View> {
    Ok(View { room: room(row)?, membership: membership_if_any(row)? })
}

pub(super) fn first(row: &Row) -> Result<First> {
    Ok(First {
        hash: hash(row, "body_hash")?,
        position: position(row, "seq", "id")?,
        sent_at: row.get("sent_at")?,
        trace_id: row.get("trace_id")?,
    })
}

pub(super) fn target(row: &Row) -> Result<Target> {
    let own = position(row, "seq", "id")?;
    let edited: Option<i64> = row.get("last_seq")?;
    let last = edited.map(|_| position(row, "last_seq", "last_id")).transpose()?;
    Ok(Target {
        last: last.unwrap_or_else(|| own.clone()),
        position: own,
        sender: row.get("actor")?,
        body: row.get("body")?,
        edited_at: row.get("edited_at")?,
        deleted: row.get("deleted")?,
    })
}

pub(super) fn event(row: &Row) -> Result<Event> {
    Ok(Event {
        room_id: row.get("room_id")?,
        seq: unsigned(row, "seq")?,
        id: row.get("id")?,
        at: row.get("sent_at")?,
        change: change(row)?,
    })
}

fn change(row: &Row) -> Result<Change> {
    let actor: String = row.get("actor")?;
    Ok(match row.get("kind")? {
        1_i64 => Change::Message(message(row, actor)?),
        2 => Change::Edited {
            message_id: row.get("target_id")?,
            message_seq: unsigned(row, "target_seq")?,
            editor: actor,
            body: row.get("body")?,
        },
        3 => Change::Deleted {
            message_id: row.get("target_id")?,
            message_seq: unsigned(row, "target_seq")?,
            deleter: actor,
        },
        4 => Change::Joined { user_id: actor },
        5 => Change::Left { user_id: actor },
        6 => {
            let reason = CloseReason::parse(row.get("body")?);
            Change::Closed { closer: actor, reason: reason.ok_or_else(|| corrupt("close reason"))? }
        }
        _ => return Err(corrupt("kind of an event")),
    })
}

fn message(row: &Row, sender: String) -> Result<Message> {
    Ok(Message {
        sender,
        client_msg_id: row.get("client_msg_id")?,
        body: row.get("body")?,
        metadata: parse_metadata(row.get("metadata")?)?,
        trace_id: row.get("trace_id")?,
        edited_at: row.get("edited_at")?,
        deleted: row.get("deleted")?,
    })
}

fn parse_metadata(text: &str) -> Result<BTreeMap<String, String>> {
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wrong = |error| Error::with_source(ErrorKind::Corrupt, "metadata of a message", error);
    serde_json::from_str(text).map_err(wrong)
}
