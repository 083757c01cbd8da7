//! From the services' messages to the client's.

use std::sync::Arc;

use mingle_proto::{
    chat::v1 as chat,
    gateway::v1::{self as pb, server_frame::Kind},
    matchmaking::v1 as mm,
    presence::v1 as pr,
};

use crate::outbox::{Event, Position};

/// A message as it reads now.
pub(crate) fn message(message: chat::Message) -> pb::Message {
    pb::Message {
        room_id: message.room_id,
        seq: message.seq,
        message_id: message.message_id,
        sender_id: message.sender_id,
        client_msg_id: message.client_msg_id,
        body: message.body,
        metadata: message.metadata,
        sent_at: message.sent_at,
        trace_id: message.trace_id,
        edited_at: message.edited_at,
        deleted: message.deleted,
    }
}

/// One entry of a room's log; `None` for a kind this version does not know.
pub(crate) fn event(room: &Arc<str>, event: chat::Event) -> Option<Arc<Event>> {
    let chat::Event { room_id, seq, id, at, kind } = event;
    let position = Position { seq, id: id.clone() };
    let kind = match kind? {
        chat::event::Kind::Message(found) => Kind::Message(message(found)),
        chat::event::Kind::Edited(edited) => Kind::Edited(pb::Edited {
            room_id,
            seq,
            id,
            message_id: edited.message_id,
            message_seq: edited.message_seq,
            editor_id: edited.editor_id,
            body: edited.body,
            at,
        }),
        chat::event::Kind::Deleted(deleted) => Kind::Deleted(pb::Deleted {
            room_id,
            seq,
            id,
            message_id: deleted.message_id,
            message_seq: deleted.message_seq,
            deleter_id: deleted.deleter_id,
            at,
        }),
        chat::event::Kind::Member(member) => Kind::Member(pb::MemberChanged {
            room_id,
            seq,
            id,
            user_id: member.user_id,
            joined: member.joined,
            at,
        }),
        chat::event::Kind::Closed(closed) => Kind::RoomClosed(pb::RoomClosed {
            room_id,
            seq,
            id,
            closer_id: closed.closer_id,
            reason: closed.reason,
            at,
        }),
    };
    Some(Event::of_room(room.clone(), Some(position), kind))
}

/// A signal as an event.
pub(crate) struct Signal {
    /// The event.
    pub event: Arc<Event>,
    /// True for typing, which its sender need not see.
    pub is_typing: bool,
}

/// What is told and not kept, and who caused it.
pub(crate) fn signal(room: &Arc<str>, signal: chat::Signal) -> Option<(String, Signal)> {
    let room_id = room.to_string();
    let (user, kind, is_typing) = match signal.kind? {
        chat::signal::Kind::TypingUserId(user_id) => {
            let kind = Kind::Typing(pb::TypingEvent { room_id, user_id: user_id.clone() });
            (user_id, kind, true)
        }
        chat::signal::Kind::Read(chat::ReadSignal { user_id, seq }) => {
            let kind = Kind::Read(pb::ReadEvent { room_id, user_id: user_id.clone(), seq });
            (user_id, kind, false)
        }
    };
    Some((user, Signal { event: Event::of_room(room.clone(), None, kind), is_typing }))
}

/// Events of a room were lost. Told outside the room: the stay may have ended.
pub(crate) fn gap(room: &Arc<str>) -> Arc<Event> {
    Event::new(Kind::Gap(pb::Gap { room_id: room.to_string() }))
}

/// The kind of a room.
pub(crate) fn room_kind(kind: chat::RoomKind) -> pb::RoomKind {
    match kind {
        chat::RoomKind::Unspecified => pb::RoomKind::Unspecified,
        chat::RoomKind::Pair => pb::RoomKind::Pair,
        chat::RoomKind::Direct => pb::RoomKind::Direct,
        chat::RoomKind::Channel => pb::RoomKind::Channel,
    }
}

/// A room in a list.
pub(crate) fn summary(room: chat::Room) -> pb::RoomSummary {
    let kind = room_kind(room.kind());
    let head = room.head.unwrap_or_default();
    pb::RoomSummary {
        room_id: room.room_id,
        kind: kind.into(),
        name: room.name,
        closed: room.closed,
        created_at: room.created_at,
        head_seq: head.seq,
        head_id: head.id,
        unread: room.unread,
        member_count: room.member_count,
    }
}

/// The state of a ticket.
pub(crate) fn ticket_state(state: mm::TicketState) -> pb::TicketState {
    match state {
        mm::TicketState::Unspecified => pb::TicketState::Unspecified,
        mm::TicketState::Waiting => pb::TicketState::Waiting,
        mm::TicketState::Matched => pb::TicketState::Matched,
        mm::TicketState::Cancelled => pb::TicketState::Cancelled,
        mm::TicketState::Expired => pb::TicketState::Expired,
    }
}

/// A ticket in a reply.
pub(crate) fn ticket(ticket: mm::Ticket) -> pb::Ticket {
    pb::Ticket {
        state: ticket_state(ticket.state()).into(),
        ticket_id: ticket.ticket_id,
        match_id: ticket.match_id,
        room_id: ticket.room_id,
    }
}

/// A ticket over HTTP.
pub(crate) fn ticket_view(ticket: mm::Ticket) -> pb::TicketView {
    pb::TicketView {
        state: ticket_state(ticket.state()).into(),
        ticket_id: ticket.ticket_id,
        pool: ticket.pool,
        match_id: ticket.match_id,
        room_id: ticket.room_id,
        users: ticket.user_ids,
    }
}

/// The event of a match.
pub(crate) fn matched(ticket: mm::Ticket) -> Arc<Event> {
    Event::new(Kind::Matched(pb::Matched {
        match_id: ticket.match_id,
        ticket_id: ticket.ticket_id,
        pool: ticket.pool,
        room_id: ticket.room_id,
        users: ticket.user_ids,
    }))
}

/// A user's presence.
pub(crate) fn presence(presence: pr::Presence) -> pb::Presence {
    let status = match presence.status() {
        pr::Status::Online => pb::PresenceStatus::Online,
        pr::Status::Away => pb::PresenceStatus::Away,
        pr::Status::Busy => pb::PresenceStatus::Busy,
        pr::Status::Offline => pb::PresenceStatus::Offline,
        pr::Status::Unspecified | pr::Status::Unknown => pb::PresenceStatus::Unknown,
    };
    pb::Presence { user_id: presence.user_id, status: status.into(), last_seen: presence.last_seen }
}

/// What a user asks to show; `None` for what cannot be asked.
pub(crate) fn wanted_status(status: pb::PresenceStatus) -> Option<pr::Status> {
    match status {
        pb::PresenceStatus::Online => Some(pr::Status::Online),
        pb::PresenceStatus::Away => Some(pr::Status::Away),
        pb::PresenceStatus::Busy => Some(pr::Status::Busy),
        _ => None,
    }
}
