//! What a batch writes, as the JSON that its statements take.

use mingle_store::{Error, ErrorKind, Result};
use serde::Serialize;

use super::rows::kind_number;
use crate::domain::{Account, Change, Entry, Kind, Membership, Target};

#[derive(Serialize)]
pub(super) struct RoomRecord<'a> {
    room_id: &'a str,
    kind: i64,
    name: &'a str,
    creator: &'a str,
    external_id: Option<&'a str>,
    origin: String,
    closed: bool,
    created_at: i64,
    last_active_at: i64,
    head_seq: u64,
    head_id: &'a str,
    message_no: u64,
    member_count: u32,
    base_seq: u64,
    base_id: &'a str,
    oldest_at: Option<i64>,
    rewritten_seq: u64,
}

impl<'a> From<&'a Account> for RoomRecord<'a> {
    fn from(account: &'a Account) -> Self {
        let room = &account.room;
        Self {
            room_id: &room.room_id,
            kind: kind_number(room.kind),
            name: &room.name,
            creator: &room.creator,
            external_id: room.external_id.as_deref(),
            origin: hex::encode(room.origin),
            closed: room.closed,
            created_at: room.created_at,
            last_active_at: room.last_active_at,
            head_seq: room.head.seq,
            head_id: &room.head.id,
            message_no: room.message_no,
            member_count: room.member_count,
            base_seq: room.base.seq,
            base_id: &room.base.id,
            oldest_at: account.entries().first().map(|entry| entry.event.at),
            rewritten_seq: room.rewritten_seq,
        }
    }
}

#[derive(Serialize)]
pub(super) struct MemberRecord<'a> {
    room_id: &'a str,
    user_id: &'a str,
    joined_at: i64,
    joined_seq: u64,
    left_at: Option<i64>,
    left_seq: Option<u64>,
    read_seq: u64,
    read_message_no: u64,
    live: bool,
}

impl<'a> MemberRecord<'a> {
    pub(super) fn new(account: &'a Account, member: &'a Membership) -> Self {
        let over = is_over(account);
        Self {
            room_id: &account.room.room_id,
            user_id: &member.user_id,
            joined_at: member.joined_at,
            joined_seq: member.joined_seq,
            left_at: member.left_at,
            left_seq: member.left_seq,
            read_seq: member.read.seq,
            read_message_no: member.read.message_no,
            live: member.left_at.is_none() && !over,
        }
    }
}

/// A closed pair: its users are strangers again.
pub(super) fn is_over(account: &Account) -> bool {
    account.room.kind == Kind::Pair && account.room.closed
}

#[derive(Serialize)]
pub(super) struct LogRecord<'a> {
    room_id: &'a str,
    seq: u64,
    id: &'a str,
    kind: i64,
    actor: &'a str,
    client_msg_id: Option<&'a str>,
    body_hash: Option<String>,
    body: &'a str,
    metadata: String,
    target_id: Option<&'a str>,
    target_seq: Option<u64>,
    message_no: u64,
    sent_at: i64,
    trace_id: &'a str,
}

impl<'a> LogRecord<'a> {
    pub(super) fn new(entry: &'a Entry) -> Result<Self> {
        let event = &entry.event;
        let mut record = Self {
            room_id: &event.room_id,
            seq: event.seq,
            id: &event.id,
            kind: 0,
            actor: "",
            client_msg_id: None,
            body_hash: entry.hash.as_ref().map(hex::encode),
            body: "",
            metadata: String::new(),
            target_id: None,
            target_seq: None,
            message_no: entry.message_no,
            sent_at: event.at,
            trace_id: &entry.trace_id,
        };
        record.tell(&event.change)?;
        Ok(record)
    }

    fn tell(&mut self, change: &'a Change) -> Result<()> {
        match change {
            Change::Message(message) => {
                (self.kind, self.actor, self.body) = (1, &message.sender, &message.body);
                self.client_msg_id = Some(&message.client_msg_id);
                if !message.metadata.is_empty() {
                    self.metadata = json(&message.metadata)?;
                }
            }
            Change::Edited { message_id, message_seq, editor, body } => {
                (self.kind, self.actor, self.body) = (2, editor, body);
                (self.target_id, self.target_seq) = (Some(message_id.as_str()), Some(*message_seq));
            }
            Change::Deleted { message_id, message_seq, deleter } => {
                (self.kind, self.actor) = (3, deleter);
                (self.target_id, self.target_seq) = (Some(message_id.as_str()), Some(*message_seq));
            }
            Change::Joined { user_id } => (self.kind, self.actor) = (4, user_id),
            Change::Left { user_id } => (self.kind, self.actor) = (5, user_id),
            Change::Closed { closer, reason } => {
                (self.kind, self.actor, self.body) = (6, closer, reason.name());
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
pub(super) struct TargetRecord<'a> {
    room_id: &'a str,
    seq: u64,
    body: &'a str,
    edited_at: Option<i64>,
    deleted: bool,
}

impl<'a> TargetRecord<'a> {
    pub(super) fn new(account: &'a Account, target: &'a Target) -> Self {
        Self {
            room_id: &account.room.room_id,
            seq: target.position.seq,
            body: &target.body,
            edited_at: target.edited_at,
            deleted: target.deleted,
        }
    }
}

pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let wrong = |error| Error::with_source(ErrorKind::Unsupported, "JSON of a statement", error);
    serde_json::to_string(value).map_err(wrong)
}
