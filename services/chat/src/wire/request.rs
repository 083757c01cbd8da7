//! Requests that change a room.

use mingle_proto::chat::v1 as proto;

use super::{check, content};
use crate::domain::{Fault, Intent, Invalid, Kind, NewMessage, NewRoom};

/// Of a direct room.
const DIRECT_MEMBERS: usize = 32;
/// Of a channel at its creation: an item of a batch is bounded. More join.
const CHANNEL_MEMBERS: usize = 100;

/// A room to be made.
pub fn create(request: proto::CreateRoomRequest) -> Result<Intent, Invalid> {
    let kind = kind(request.kind())?;
    check::name(&request.name)?;
    check::external_id(&request.external_id)?;
    let mut members = request.member_ids;
    match kind {
        Kind::Pair => pair(&request.actor, &members)?,
        Kind::Direct => direct(&request.actor, &members)?,
        Kind::Channel => {
            check::user("actor", &request.actor)?;
            check::users("member_ids", &members, CHANNEL_MEMBERS)?;
            if !members.contains(&request.actor) {
                members.insert(0, request.actor.clone());
            }
        }
    }
    let external_id = (!request.external_id.is_empty())
        .then(|| own_external_id(&request.actor, request.external_id));
    Ok(Intent::Create(NewRoom {
        kind,
        name: request.name,
        creator: request.actor,
        origin: content::of_room(kind, &members),
        members,
        external_id,
    }))
}

/// One actor's ids say nothing of another's, and take none away. Neither part
/// holds the separator, a control character. Matches have no actor.
fn own_external_id(actor: &str, id: String) -> String {
    if actor.is_empty() { id } else { format!("{actor}\u{1f}{id}") }
}

fn kind(kind: proto::RoomKind) -> Result<Kind, Invalid> {
    match kind {
        proto::RoomKind::Pair => Ok(Kind::Pair),
        proto::RoomKind::Direct => Ok(Kind::Direct),
        proto::RoomKind::Channel => Ok(Kind::Channel),
        proto::RoomKind::Unspecified => Err(Invalid::new("kind", Fault::Required, "is required")),
    }
}

/// Nobody makes a pair: a match does.
fn pair(actor: &str, members: &[String]) -> Result<(), Invalid> {
    if !actor.is_empty() {
        return Err(Invalid::new("actor", Fault::Malformed, "must be empty for a pair"));
    }
    check::users("member_ids", members, 2)?;
    if members.len() < 2 {
        return Err(Invalid::new("member_ids", Fault::Malformed, "is not two users"));
    }
    Ok(())
}

fn direct(actor: &str, members: &[String]) -> Result<(), Invalid> {
    check::user("actor", actor)?;
    check::users("member_ids", members, DIRECT_MEMBERS)?;
    if members.len() < 2 || !members.iter().any(|member| member == actor) {
        let why = "is not 2 to 32 users, the actor among them";
        return Err(Invalid::new("member_ids", Fault::Malformed, why));
    }
    Ok(())
}

fn whose(actor: &str, room_id: &str) -> Result<(), Invalid> {
    check::user("actor", actor)?;
    check::room_id(room_id)
}

/// A message to be said, and where.
pub fn send(request: proto::SendRequest) -> Result<(String, Intent), Invalid> {
    whose(&request.actor, &request.room_id)?;
    check::client_msg_id(&request.client_msg_id)?;
    check::body(&request.body)?;
    check::metadata(&request.metadata)?;
    let metadata = request.metadata.into_iter().collect();
    let message = NewMessage {
        sender: request.actor,
        client_msg_id: request.client_msg_id,
        hash: content::of_message(&request.body, &metadata),
        body: request.body,
        metadata,
    };
    Ok((request.room_id, Intent::Message(message)))
}

/// A message to read anew, and where.
pub fn edit(request: proto::EditRequest) -> Result<(String, Intent), Invalid> {
    whose(&request.actor, &request.room_id)?;
    check::message_id(&request.message_id)?;
    check::body(&request.body)?;
    let proto::EditRequest { actor, room_id, message_id, body } = request;
    Ok((room_id, Intent::Edit { actor, message_id, body }))
}

/// A message to be gone, and where.
pub fn delete(request: proto::DeleteRequest) -> Result<(String, Intent), Invalid> {
    whose(&request.actor, &request.room_id)?;
    check::message_id(&request.message_id)?;
    let proto::DeleteRequest { actor, room_id, message_id } = request;
    Ok((room_id, Intent::Delete { actor, message_id }))
}

/// A room to become a member of.
pub fn join(request: proto::JoinRequest) -> Result<(String, Intent), Invalid> {
    whose(&request.actor, &request.room_id)?;
    Ok((request.room_id, Intent::Join { actor: request.actor }))
}

/// A room to leave.
pub fn leave(request: proto::LeaveRequest) -> Result<(String, Intent), Invalid> {
    whose(&request.actor, &request.room_id)?;
    Ok((request.room_id, Intent::Leave { actor: request.actor }))
}

/// A room to be closed.
pub fn close(request: proto::CloseRoomRequest) -> Result<(String, Intent), Invalid> {
    whose(&request.actor, &request.room_id)?;
    Ok((request.room_id, Intent::Close { actor: request.actor }))
}

/// How far a member has read.
pub fn mark_read(request: proto::MarkReadRequest) -> Result<(String, Intent), Invalid> {
    whose(&request.actor, &request.room_id)?;
    Ok((request.room_id, Intent::Read { actor: request.actor, seq: request.seq }))
}
