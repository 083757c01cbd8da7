//! `roomJoin`, `roomLeave`, and the rooms of a resume.

use std::sync::Arc;

use mingle_proto::{
    chat::v1 as chat,
    gateway::v1::{self as pb, server_frame},
};
use mingle_runtime::status::Kind;

use super::{Reply, ok};
use crate::{
    fault::Fault,
    gateway::Gateway,
    hub::rooms::Followed,
    outbox::Position,
    translate,
    ws::{
        replay::{Job, Replay, page},
        session::Session,
    },
};

/// Joins and follows a room; with `after`, reads what was missed first.
pub(crate) async fn join(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    join: pb::RoomJoin,
) -> Result<Reply, Fault> {
    let (room, job) = enter(gateway, session, &join.room_id, join.after).await?;
    let kind = server_frame::Kind::Room(room);
    Ok(Reply { kind, jobs: job.into_iter().collect(), session: None })
}

/// The same for one room of a resume, where a failure is told in the reply.
pub(crate) async fn resume(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    room: pb::RoomPosition,
) -> (pb::Room, Option<Job>) {
    match enter(gateway, session, &room.room_id, room.after).await {
        Ok(entered) => entered,
        Err(fault) => {
            let reason = if fault.kind == Kind::NotFound { "not_found" } else { "unavailable" };
            let room =
                pb::Room { room_id: room.room_id, reason: reason.to_owned(), ..Default::default() };
            (room, None)
        }
    }
}

async fn enter(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    room_id: &str,
    after: Option<pb::Position>,
) -> Result<(pb::Room, Option<Job>), Fault> {
    if room_id.is_empty() {
        return Err(Fault::required("roomId"));
    }
    session.check_room(room_id, gateway.config.limits.rooms_per_connection)?;
    let room = join_or_read(gateway, session, room_id).await?;
    let mut reply = describe(gateway, session, &room).await?;
    if let (None, Some(joined)) = (&after, session.joined(room_id)) {
        // Followed already, and nothing to read again.
        return Ok((at(reply, joined.cursor), None));
    }
    let (user, outbox) = (session.user.clone(), session.outbox.clone());
    let followed = gateway.rooms.enter(room_id, session.socket, user, outbox).await?;
    let followed = Arc::new(followed);
    let Some(after) = after else {
        return Ok((at(reply, live_at_head(session, followed)), None));
    };
    let after = Position { seq: after.seq, id: after.id };
    let first = page(gateway, session, room_id, &after).await?;
    let head = first.head.clone().unwrap_or_default();
    reply = at(reply, Position { seq: head.seq, id: head.id });
    if !first.recovered {
        let reply = at(reply, live_at_head(session, followed));
        return Ok((pb::Room { recovered: false, reason: first.reason, ..reply }, None));
    }
    session.outbox.forget(room_id);
    session.keep(followed.clone(), after.clone());
    let replay = Replay { followed, after, first: Some(first) };
    let job: Job = Box::pin(replay.run(gateway.clone(), session.clone()));
    Ok((reply, Some(job)))
}

/// Follows from the head on.
fn live_at_head(session: &Session, followed: Arc<Followed>) -> Position {
    session.outbox.forget(followed.id());
    let head = followed.live_at_head();
    session.keep(followed, head.clone());
    head
}

/// Makes the user a member, or reads a closed room that they were in.
async fn join_or_read(
    gateway: &Gateway,
    session: &Session,
    room_id: &str,
) -> Result<chat::Room, Fault> {
    let (actor, room_id) = (session.actor(), room_id.to_owned());
    let join = chat::JoinRequest { actor: actor.clone(), room_id: room_id.clone() };
    match gateway.chat().join(join).await.map_err(Fault::from) {
        Ok(answer) => Ok(answer.into_inner().room.unwrap_or_default()),
        Err(fault) if fault.reason == "ROOM_CLOSED" => {
            let request = chat::GetRoomRequest { actor, room_id };
            let answer = gateway.chat().get_room(request).await?.into_inner();
            Ok(answer.room.unwrap_or_default())
        }
        Err(fault) => Err(fault),
    }
}

async fn describe(
    gateway: &Gateway,
    session: &Session,
    room: &chat::Room,
) -> Result<pb::Room, Fault> {
    let kind = translate::room_kind(room.kind());
    // Channels may have a thousand members, who come and go.
    let members = if kind == pb::RoomKind::Channel {
        Vec::new()
    } else {
        let (actor, room_id) = (session.actor(), room.room_id.clone());
        let request = chat::ListMembersRequest { actor, room_id };
        let answer = gateway.chat().list_members(request).await?.into_inner();
        answer.members.into_iter().map(|member| member.user_id).collect()
    };
    Ok(pb::Room {
        room_id: room.room_id.clone(),
        kind: kind.into(),
        recovered: true,
        closed: room.closed,
        members,
        ..Default::default()
    })
}

fn at(room: pb::Room, head: Position) -> pb::Room {
    pb::Room { head_seq: head.seq, head_id: head.id, ..room }
}

/// Reads a room on from the last event written, after live events were
/// interrupted; `None` when the socket no longer follows it.
pub(crate) fn catch_up(gateway: Arc<Gateway>, session: Arc<Session>, room: &str) -> Option<Job> {
    let joined = session.joined(room)?;
    let followed: Arc<Followed> = joined.followed;
    let replay = Replay { followed, after: joined.cursor, first: None };
    Some(Box::pin(replay.run(gateway, session)))
}

/// Ends the membership; no event of the room comes after the reply.
pub(crate) async fn leave(
    gateway: &Gateway,
    session: &Session,
    leave: pb::RoomLeave,
) -> Result<Reply, Fault> {
    if leave.room_id.is_empty() {
        return Err(Fault::required("roomId"));
    }
    let (actor, room_id) = (session.actor(), leave.room_id);
    let request = chat::LeaveRequest { actor, room_id: room_id.clone() };
    gateway.chat().leave(request).await?;
    session.leave(&room_id);
    Ok(ok())
}
