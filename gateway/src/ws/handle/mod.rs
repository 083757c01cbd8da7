//! What each request of a greeted socket does: one call to a service, and
//! what the socket follows from then on.

pub(super) mod hello;
pub(super) mod matching;
mod messages;
pub(super) mod presence;
pub(super) mod rooms;

use std::sync::Arc;

use mingle_proto::{
    errors::v1::Reason,
    gateway::v1::{self as pb, client_frame::Kind, server_frame},
};
use mingle_runtime::status::Kind as FaultKind;

use super::{replay::Job, session::Session};
use crate::{fault::Fault, gateway::Gateway};

/// What a request leads to.
pub(super) struct Reply {
    /// The reply.
    pub kind: server_frame::Kind,
    /// What goes on afterwards.
    pub jobs: Vec<Job>,
    /// The session, of a hello.
    pub session: Option<Arc<Session>>,
    /// The ticket whose outcome the reply tells.
    pub told: Option<Arc<str>>,
}

impl From<server_frame::Kind> for Reply {
    fn from(kind: server_frame::Kind) -> Self {
        Self { kind, jobs: Vec::new(), session: None, told: None }
    }
}

/// The reply to what has no result.
fn ok() -> Reply {
    server_frame::Kind::Ok(pb::Ok {}).into()
}

/// The room a request is about: its events wait for the reply.
pub(super) fn room_of(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::RoomJoin(room) => Some(&room.room_id),
        Kind::RoomLeave(room) => Some(&room.room_id),
        Kind::Send(send) => Some(&send.room_id),
        Kind::Edit(edit) => Some(&edit.room_id),
        Kind::Delete(delete) => Some(&delete.room_id),
        Kind::Read(read) => Some(&read.room_id),
        _ => None,
    }
}

/// The name of a request, for its span.
pub(crate) fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Hello(_) => "hello",
        Kind::MatchJoin(_) => "matchJoin",
        Kind::MatchLeave(_) => "matchLeave",
        Kind::RoomJoin(_) => "roomJoin",
        Kind::RoomLeave(_) => "roomLeave",
        Kind::Send(_) => "send",
        Kind::Edit(_) => "edit",
        Kind::Delete(_) => "delete",
        Kind::History(_) => "history",
        Kind::Read(_) => "read",
        Kind::Typing(_) => "typing",
        Kind::PresenceWatch(_) => "presenceWatch",
        Kind::PresenceSet(_) => "presenceSet",
        Kind::Ping(_) => "ping",
    }
}

/// Works on a request of a greeted socket.
pub(super) async fn request(
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    kind: Kind,
) -> Result<Reply, Fault> {
    match kind {
        Kind::Hello(_) => {
            let message = "this connection has said hello already";
            Err(Fault::new(FaultKind::Precondition, Reason::AlreadyGreeted, message))
        }
        Kind::MatchJoin(join) => matching::join(&gateway, &session, join).await,
        Kind::MatchLeave(leave) => matching::leave(&gateway, &session, leave).await,
        Kind::RoomJoin(join) => rooms::join(&gateway, &session, join).await,
        Kind::RoomLeave(leave) => rooms::leave(&gateway, &session, leave).await,
        Kind::Send(send) => messages::send(&gateway, &session, send).await,
        Kind::Edit(edit) => messages::edit(&gateway, &session, edit).await,
        Kind::Delete(delete) => messages::delete(&gateway, &session, delete).await,
        Kind::History(history) => messages::history(&gateway, &session, history).await,
        Kind::Read(read) => messages::read(&gateway, &session, read).await,
        Kind::Typing(typing) => messages::typing(&gateway, &session, typing).await,
        Kind::PresenceWatch(watch) => presence::watch(&gateway, &session, watch).await,
        Kind::PresenceSet(set) => presence::set(&gateway, &session, set).await,
        Kind::Ping(_) => Ok(server_frame::Kind::Pong(pb::Pong {}).into()),
    }
}
