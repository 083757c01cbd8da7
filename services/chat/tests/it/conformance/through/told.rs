//! What the service tells, read back as what a store answers.

use mingle_chat::{
    domain::{
        Change, CloseReason, Event, Kind, Membership, Message, Position, Refusal, Unproved, View,
    },
    store::{Page, Replay},
};
use mingle_proto::{Timestamp, chat::v1 as proto};
use mingle_runtime::status::{Described, Kind as Failed};
use proto::event::Kind as Told;
use tonic::{Response, Status};

/// The answer, or the refusal that its kind, reason and field stand for. No
/// other failure is an outcome of a wish.
pub(super) fn outcome<T>(answer: Result<Response<T>, Status>) -> Result<T, Refusal> {
    answer.map(Response::into_inner).map_err(|status| {
        let told = Described::from(&status);
        match (told.kind, told.reason.as_str(), told.field.as_str()) {
            (Failed::NotFound, "ROOM_NOT_FOUND", "room_id") => Refusal::RoomNotFound,
            (Failed::Precondition, "ROOM_CLOSED", "room_id") => Refusal::RoomClosed,
            (Failed::Exhausted, "ROOM_FULL", "room_id") => Refusal::RoomFull,
            (Failed::Exists, "KEY_REUSED", "client_msg_id") => Refusal::KeyReused,
            (Failed::Exists, "KEY_REUSED", "external_id") => Refusal::ExternalIdReused,
            (Failed::NotFound, "MESSAGE_NOT_FOUND", "message_id") => Refusal::MessageNotFound,
            (Failed::Precondition, "MESSAGE_DELETED", "message_id") => Refusal::MessageDeleted,
            (Failed::Denied, "NOT_ALLOWED", "") => Refusal::NotAllowed,
            (Failed::Invalid, "MALFORMED", "seq") => Refusal::BeyondHead,
            (Failed::Invalid, "MALFORMED", "body" | "metadata") => Refusal::Nul,
            _ => panic!("no refusal of a store: {told:?}"),
        }
    })
}

pub(super) fn millis(at: Option<Timestamp>) -> i64 {
    at.unwrap().millis()
}

pub(super) fn position(position: proto::Position) -> Position {
    Position { seq: position.seq, id: position.id }
}

/// What is told of a room, over what is stored of it: `stored` keeps only
/// what no reply carries.
pub(super) fn view(mut stored: View, told: proto::Room) -> View {
    let kind = match told.kind() {
        proto::RoomKind::Pair => Kind::Pair,
        proto::RoomKind::Direct => Kind::Direct,
        proto::RoomKind::Channel => Kind::Channel,
        proto::RoomKind::Unspecified => panic!("{told:?}"),
    };
    let room = &mut stored.room;
    (room.room_id, room.kind, room.name) = (told.room_id, kind, told.name);
    (room.closed, room.member_count) = (told.closed, told.member_count);
    (room.created_at, room.head) = (millis(told.created_at), position(told.head.unwrap()));
    match &mut stored.membership {
        Some(member) => {
            member.read.message_no = room.message_no.saturating_sub(told.unread);
        }
        None => assert_eq!(told.unread, 0, "who was never in a room has nothing to read"),
    }
    assert_eq!(stored.unread(), told.unread);
    stored
}

/// As [`view`], of a member.
pub(super) fn member(stored: Option<Membership>, told: proto::Member) -> Membership {
    let mut member = stored.expect("who is told is stored");
    member.user_id = told.user_id;
    member.joined_at = millis(told.joined_at);
    member.read.seq = told.read_seq;
    member.left_at = None;
    member
}

pub(super) fn history(told: proto::HistoryResponse) -> Page {
    let events = told.messages.into_iter().map(|message| Event {
        room_id: message.room_id.clone(),
        seq: message.seq,
        id: message.message_id.clone(),
        at: millis(message.sent_at),
        change: Change::Message(said(message)),
    });
    Page { events: events.collect(), has_more: told.has_more }
}

pub(super) fn replay(stored: View, told: proto::ReplayResponse) -> Replay {
    let unproved = [Unproved::BeyondHead, Unproved::IdMismatch, Unproved::Expired]
        .into_iter()
        .find(|unproved| unproved.name() == told.reason);
    assert_eq!(told.recovered, told.reason.is_empty());
    let mut room = stored.room;
    room.head = position(told.head.unwrap());
    Replay {
        page: Page {
            events: told.events.into_iter().map(event).collect(),
            has_more: told.has_more,
        },
        room,
        proved: if told.recovered { Ok(()) } else { Err(unproved.expect("a known reason")) },
    }
}

fn event(told: proto::Event) -> Event {
    let change = match told.kind.unwrap() {
        Told::Message(message) => {
            let place = (&message.room_id, message.seq, &message.message_id);
            assert_eq!(place, (&told.room_id, told.seq, &told.id));
            assert_eq!(message.sent_at, told.at);
            Change::Message(said(message))
        }
        Told::Edited(proto::Edited { message_id, message_seq, editor_id: editor, body }) => {
            Change::Edited { message_id, message_seq, editor, body }
        }
        Told::Deleted(proto::Deleted { message_id, message_seq, deleter_id: deleter }) => {
            Change::Deleted { message_id, message_seq, deleter }
        }
        Told::Member(proto::MemberChanged { user_id, joined: true }) => Change::Joined { user_id },
        Told::Member(proto::MemberChanged { user_id, joined: false }) => Change::Left { user_id },
        Told::Closed(proto::Closed { closer_id: closer, reason }) => {
            Change::Closed { closer, reason: CloseReason::parse(&reason).expect("a known reason") }
        }
    };
    Event { room_id: told.room_id, seq: told.seq, id: told.id, at: millis(told.at), change }
}

fn said(message: proto::Message) -> Message {
    Message {
        sender: message.sender_id,
        client_msg_id: message.client_msg_id,
        body: message.body,
        metadata: message.metadata.into_iter().collect(),
        trace_id: message.trace_id,
        edited_at: message.edited_at.as_ref().map(Timestamp::millis),
        deleted: message.deleted,
    }
}
