//! `roomJoin`, `roomLeave`, and the rooms of a resume.

use std::sync::Arc;

use mingle_proto::{
    chat::v1 as chat,
    gateway::v1::{self as pb, server_frame},
};
use mingle_runtime::status::Kind;
use prost::Message as _;
use tokio::time::Instant;

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

/// Events that the proof of a position brings along. Who was away for a moment
/// missed no more, and what they missed is read once.
const PROOF: u32 = 8;
/// What is held of it until it can be written, in bytes.
const HELD: usize = 8 * 1024;

/// Joins and follows a room; with `after`, reads what was missed first.
pub(crate) async fn join(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    join: pb::RoomJoin,
) -> Result<Reply, Fault> {
    check(gateway, session, &join.room_id)?;
    let room = join_or_read(gateway, session, &join.room_id).await?;
    let (room, job) = follow(gateway, session, room, join.after).await?;
    let kind = server_frame::Kind::Room(room);
    Ok(Reply { jobs: job.into_iter().collect(), ..kind.into() })
}

/// Follows one room of a resume: nobody becomes a member by it. A failure is
/// told in the reply, also that there was no time until `deadline`.
pub(crate) async fn resume(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    room: pb::RoomPosition,
    deadline: Instant,
) -> (pb::Room, Option<Job>) {
    let room_id = room.room_id.clone();
    let resumed = async {
        check(gateway, session, &room.room_id)?;
        let read = read(gateway, session, &room.room_id).await?;
        if room.after.is_none() {
            // Of open rooms everybody may know; only members may read them.
            page(gateway, session, &read.room_id, (&Position::default(), 1)).await?;
        }
        follow(gateway, session, read, room.after).await
    };
    let reason = match tokio::time::timeout_at(deadline, resumed).await {
        Ok(Ok(followed)) => return followed,
        Ok(Err(fault)) if fault.kind == Kind::NotFound => "not_found",
        _ => "unavailable",
    };
    (pb::Room { room_id, reason: reason.to_owned(), ..Default::default() }, None)
}

fn check(gateway: &Gateway, session: &Session, room_id: &str) -> Result<(), Fault> {
    if room_id.is_empty() {
        return Err(Fault::required("roomId"));
    }
    session.check_room(room_id, gateway.config.limits.rooms_per_connection)
}

/// Follows a room that the user may read. The socket's earlier stay in it
/// goes on unless this one begins.
async fn follow(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    room: chat::Room,
    after: Option<pb::Position>,
) -> Result<(pb::Room, Option<Job>), Fault> {
    let reply = describe(gateway, session, &room).await?;
    let head = room.head.clone().unwrap_or_default();
    let head = Position { seq: head.seq, id: head.id };
    let Some(after) = after else {
        if let Some(cursor) = session.belongs(&room.room_id, head.seq) {
            // Followed already, and nothing to read again.
            return Ok((at(reply, cursor), None));
        }
        let stay = enter(gateway, session, &room, head.seq).await?;
        return Ok((at(reply, head.clone()), begin(gateway, session, (&room, stay), head)));
    };
    let after = Position { seq: after.seq, id: after.id };
    // Followed before the log is read: nothing falls between the two.
    let stay = enter(gateway, session, &room, after.seq).await?;
    let proof = page(gateway, session, &room.room_id, (&after, PROOF)).await?;
    if proof.recovered {
        // Nearer than that of the room for who left it.
        let room = chat::Room { head: proof.head.clone(), ..room };
        let head = proof.head.clone().unwrap_or_default();
        let reply = at(reply, Position { seq: head.seq, id: head.id });
        let known = is_whole(&proof).then_some(proof);
        return Ok((reply, begin_knowing(gateway, session, (&room, stay), (after, known))));
    }
    let reply = pb::Room { recovered: false, reason: proof.reason, ..at(reply, head.clone()) };
    Ok((reply, begin(gateway, session, (&room, stay), head)))
}

/// True when a page is all that was missed, and small enough to be held until
/// it is written.
fn is_whole(page: &chat::ReplayResponse) -> bool {
    !page.has_more && page.encoded_len() <= HELD
}

/// Enters a room of which something may come after `after`; else nothing does
/// any more.
async fn enter(
    gateway: &Gateway,
    session: &Session,
    room: &chat::Room,
    after: u64,
) -> Result<Option<Followed>, Fault> {
    let head = room.head.as_ref().map_or(0, |head| head.seq);
    if room.closed && after >= head {
        return Ok(None);
    }
    let (user, outbox) = (session.user.clone(), session.outbox.clone());
    gateway.rooms.enter(&room.room_id, user, outbox).await.map(Some)
}

/// Begins a stay after a place in the log, which is read on from there.
fn begin(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    stay: (&chat::Room, Option<Followed>),
    after: Position,
) -> Option<Job> {
    begin_knowing(gateway, session, stay, (after, None))
}

/// The same when what comes after the place was read already.
fn begin_knowing(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    (room, stay): (&chat::Room, Option<Followed>),
    (after, known): (Position, Option<chat::ReplayResponse>),
) -> Option<Job> {
    let head = room.head.as_ref().map_or(0, |head| head.seq);
    let Some(followed) = stay.filter(|_| !room.closed || after.seq < head).map(Arc::new) else {
        // Nothing comes any more.
        session.leave(&room.room_id);
        return None;
    };
    session.keep(followed.clone(), after.clone(), head);
    let replay = Replay::new(followed, after, room.closed);
    let replay = match known {
        Some(page) => replay.knowing(page),
        None => replay,
    };
    Some(Box::pin(replay.run(gateway.clone(), session.clone())))
}

/// Makes the user a member, or reads a closed room that they were in.
async fn join_or_read(
    gateway: &Gateway,
    session: &Session,
    room_id: &str,
) -> Result<chat::Room, Fault> {
    let join = chat::JoinRequest { actor: session.actor(), room_id: room_id.to_owned() };
    match gateway.chat_about(room_id).join(join).await.map_err(Fault::from) {
        Ok(answer) => Ok(answer.into_inner().room.unwrap_or_default()),
        Err(fault) if fault.reason == "ROOM_CLOSED" => read(gateway, session, room_id).await,
        Err(fault) => Err(fault),
    }
}

async fn read(gateway: &Gateway, session: &Session, room_id: &str) -> Result<chat::Room, Fault> {
    let request = chat::GetRoomRequest { actor: session.actor(), room_id: room_id.to_owned() };
    let answer = gateway.chat_about(&request.room_id).get_room(request).await?.into_inner();
    Ok(answer.room.unwrap_or_default())
}

async fn describe(
    gateway: &Gateway,
    session: &Session,
    room: &chat::Room,
) -> Result<pb::Room, Fault> {
    let kind = translate::room_kind(room.kind());
    // Channels may have a thousand members, who come and go.
    let members = match kind {
        pb::RoomKind::Channel => Vec::new(),
        _ => members(gateway, session, &room.room_id).await?,
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

/// The members of a room; none for who left it, and may still lack what was said
/// before.
async fn members(
    gateway: &Gateway,
    session: &Session,
    room_id: &str,
) -> Result<Vec<String>, Fault> {
    let request = chat::ListMembersRequest { actor: session.actor(), room_id: room_id.to_owned() };
    match gateway.chat_about(room_id).list_members(request).await.map_err(Fault::from) {
        Ok(answer) => Ok(answer.into_inner().members.into_iter().map(|it| it.user_id).collect()),
        Err(fault) if fault.kind == Kind::NotFound => Ok(Vec::new()),
        Err(fault) => Err(fault),
    }
}

fn at(room: pb::Room, head: Position) -> pb::Room {
    pb::Room { head_seq: head.seq, head_id: head.id, ..room }
}

/// Reads a room on from the last event written, after live events were
/// interrupted; `None` when the socket no longer follows it.
pub(crate) fn catch_up(gateway: Arc<Gateway>, session: Arc<Session>, room: &str) -> Option<Job> {
    let joined = session.joined(room)?;
    let replay = Replay::new(joined.followed, joined.cursor, false);
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
    gateway.chat_about(&request.room_id).leave(request).await?;
    session.leave(&room_id);
    Ok(ok())
}
