//! `/api/rooms`.

use std::sync::Arc;

use axum::extract::State;
use mingle_proto::{chat::v1 as chat, errors::v1::Reason, gateway::v1 as pb};
use uuid::Uuid;

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
    let request = creation(caller.actor(), body)?;
    let answer = gateway.chat().create_room(request).await?.into_inner();
    Ok(Reply(translate::summary(answer.room.unwrap_or_default())))
}

/// What chat is asked for. A call without an id of its own is given one: what is
/// asked again on the way, because an answer was lost, must not be a second room.
fn creation(actor: String, body: pb::CreateRoomBody) -> Result<chat::CreateRoomRequest, Fault> {
    let kind = match body.kind() {
        pb::RoomKind::Direct => chat::RoomKind::Direct,
        pb::RoomKind::Channel => chat::RoomKind::Channel,
        pb::RoomKind::Pair | pb::RoomKind::Unspecified => {
            let message = "kind must be DIRECT or CHANNEL; pairs come from matches";
            return Err(Fault::invalid(Reason::Malformed, "kind", message));
        }
    };
    let external_id = match body.external_id {
        none if none.is_empty() => Uuid::now_v7().to_string(),
        given => given,
    };
    let (name, member_ids) = (body.name, body.member_ids);
    Ok(chat::CreateRoomRequest { actor, kind: kind.into(), name, member_ids, external_id })
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

#[cfg(test)]
mod tests {
    use mingle_proto::{chat::v1::CreateRoomRequest, gateway::v1 as pb};

    use super::creation;

    fn of(external_id: &str) -> CreateRoomRequest {
        let external_id = external_id.to_owned();
        let kind = pb::RoomKind::Channel.into();
        let body = pb::CreateRoomBody { kind, external_id, ..Default::default() };
        creation("ann".to_owned(), body).unwrap()
    }

    #[test]
    fn each_call_has_an_id_and_keeps_its_own() {
        let (one, other) = (of(""), of(""));
        assert!(!one.external_id.is_empty());
        assert_ne!(one, other, "two calls are two rooms");
        assert_eq!(of("lobby").external_id, "lobby");
    }
}
