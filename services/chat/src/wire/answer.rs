//! The domain as it travels.

use mingle_proto::{Timestamp, chat::v1 as proto};
use proto::event::Kind as Told;

use crate::domain::{Change, Event, Kind, Membership, Message, Position, View};

/// Milliseconds since 1970 as they travel.
pub fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// A place in a log.
pub fn position(position: &Position) -> proto::Position {
    proto::Position { seq: position.seq, id: position.id.clone() }
}

/// A room as a user sees it.
pub fn room(view: &View) -> proto::Room {
    let room = &view.room;
    let kind = match room.kind {
        Kind::Pair => proto::RoomKind::Pair,
        Kind::Direct => proto::RoomKind::Direct,
        Kind::Channel => proto::RoomKind::Channel,
    };
    proto::Room {
        room_id: room.room_id.clone(),
        kind: kind.into(),
        name: room.name.clone(),
        closed: room.closed,
        created_at: Some(timestamp(room.created_at)),
        head: Some(position(&room.head)),
        unread: view.unread(),
        member_count: room.member_count,
    }
}

/// A member.
pub fn member(membership: &Membership) -> proto::Member {
    proto::Member {
        user_id: membership.user_id.clone(),
        joined_at: Some(timestamp(membership.joined_at)),
        read_seq: membership.read.seq,
    }
}

/// A message as it reads now, if the event is one.
pub fn message(event: &Event) -> Option<proto::Message> {
    match &event.change {
        Change::Message(message) => Some(said(event, message)),
        _ => None,
    }
}

fn said(event: &Event, message: &Message) -> proto::Message {
    proto::Message {
        room_id: event.room_id.clone(),
        seq: event.seq,
        message_id: event.id.clone(),
        sender_id: message.sender.clone(),
        client_msg_id: message.client_msg_id.clone(),
        body: message.body.clone(),
        metadata: message.metadata.clone().into_iter().collect(),
        sent_at: Some(timestamp(event.at)),
        trace_id: message.trace_id.clone(),
        edited_at: message.edited_at.map(timestamp),
        deleted: message.deleted,
    }
}

/// An entry of a log.
pub fn event(event: &Event) -> proto::Event {
    let member = |user_id: &String, joined| {
        Told::Member(proto::MemberChanged { user_id: user_id.clone(), joined })
    };
    let told = match &event.change {
        Change::Message(message) => Told::Message(said(event, message)),
        Change::Edited { message_id, message_seq, editor, body } => Told::Edited(proto::Edited {
            message_id: message_id.clone(),
            message_seq: *message_seq,
            editor_id: editor.clone(),
            body: body.clone(),
        }),
        Change::Deleted { message_id, message_seq, deleter } => Told::Deleted(proto::Deleted {
            message_id: message_id.clone(),
            message_seq: *message_seq,
            deleter_id: deleter.clone(),
        }),
        Change::Joined { user_id } => member(user_id, true),
        Change::Left { user_id } => member(user_id, false),
        Change::Closed { closer, reason } => Told::Closed(proto::Closed {
            closer_id: closer.clone(),
            reason: reason.name().to_owned(),
        }),
    };
    proto::Event {
        room_id: event.room_id.clone(),
        seq: event.seq,
        id: event.id.clone(),
        at: Some(timestamp(event.at)),
        kind: Some(told),
    }
}
