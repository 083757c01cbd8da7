//! `/api/rooms`.

use std::sync::Arc;

use axum::extract::State;
use mingle_proto::{chat::v1 as chat, errors::v1::Reason, gateway::v1 as pb};

use super::{
    access::{Caller, Id, Query},
    body::{Body, Reply},
};
use crate::{fault::Fault, gateway::Gateway, translate};

/// `GET /api/rooms?pageSize=&pageToken=`
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    query: Query,
) -> Result<Reply<pb::RoomList>, Fault> {
    let query = query.only(&["pageSize", "pageToken"])?;
    let request = chat::ListRoomsRequest {
        actor: caller.actor(),
        page_size: query.number("pageSize")?,
        page_token: query.text("pageToken").unwrap_or_default().to_owned(),
    };
    let page = gateway.chat().list_rooms(request).await?.into_inner();
    let rooms = page.rooms.into_iter().map(translate::summary).collect();
    Ok(Reply(pb::RoomList { rooms, next_page_token: page.next_page_token }))
}

/// `POST /api/rooms`
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Body(body): Body<pb::CreateRoomBody>,
) -> Result<Reply<pb::RoomSummary>, Fault> {
    let kind = match body.kind() {
        pb::RoomKind::Direct => chat::RoomKind::Direct,
        pb::RoomKind::Channel => chat::RoomKind::Channel,
        pb::RoomKind::Pair | pb::RoomKind::Unspecified => {
            let message = "kind must be DIRECT or CHANNEL; pairs come from matches";
            return Err(Fault::invalid(Reason::Malformed, "kind", message));
        }
    };
    let request = chat::CreateRoomRequest {
        actor: caller.actor(),
        kind: kind.into(),
        name: body.name,
        member_ids: body.member_ids,
        external_id: body.external_id,
    };
    let answer = gateway.chat().create_room(request).await?.into_inner();
    Ok(Reply(translate::summary(answer.room.unwrap_or_default())))
}

/// `GET /api/rooms/{id}/messages?before=SEQ&limit=50`
pub(super) async fn history(
    State(gateway): State<Arc<Gateway>>,
    Id(room_id): Id,
    caller: Caller,
    query: Query,
) -> Result<Reply<pb::Messages>, Fault> {
    let query = query.only(&["before", "limit"])?;
    let request = chat::HistoryRequest {
        actor: caller.actor(),
        room_id,
        before: query.number("before")?,
        limit: query.number("limit")?,
    };
    let page = gateway.chat_about(&request.room_id).history(request).await?.into_inner();
    let messages = page.messages.into_iter().map(translate::message).collect();
    Ok(Reply(pb::Messages { messages, has_more: page.has_more }))
}

/// `POST /api/rooms/{id}/messages`
pub(super) async fn send(
    State(gateway): State<Arc<Gateway>>,
    Id(room_id): Id,
    caller: Caller,
    Body(body): Body<pb::SendBody>,
) -> Result<Reply<pb::Sent>, Fault> {
    let request = chat::SendRequest {
        actor: caller.actor(),
        room_id,
        client_msg_id: body.client_msg_id,
        body: body.body,
        metadata: body.metadata,
    };
    let sent = gateway.chat_about(&request.room_id).send(request).await?.into_inner();
    Ok(Reply(pb::Sent {
        message_id: sent.message_id,
        seq: sent.seq,
        sent_at: sent.sent_at,
        trace_id: sent.trace_id,
    }))
}
