//! `send`, `edit`, `delete`, `history`, `read`, `typing`.

use mingle_proto::{
    chat::v1 as chat,
    gateway::v1::{self as pb, server_frame},
};

use super::{Reply, ok};
use crate::{fault::Fault, gateway::Gateway, translate, ws::session::Session};

/// Says something.
pub(super) async fn send(
    gateway: &Gateway,
    session: &Session,
    send: pb::Send,
) -> Result<Reply, Fault> {
    let request = chat::SendRequest {
        actor: session.actor(),
        room_id: send.room_id,
        client_msg_id: send.client_msg_id,
        body: send.body,
        metadata: send.metadata,
    };
    let sent = gateway.chat_about(&request.room_id).send(request).await?.into_inner();
    let sent = pb::Sent {
        message_id: sent.message_id,
        seq: sent.seq,
        sent_at: sent.sent_at,
        trace_id: sent.trace_id,
    };
    Ok(server_frame::Kind::Sent(sent).into())
}

/// Replaces the body of one's own message.
pub(super) async fn edit(
    gateway: &Gateway,
    session: &Session,
    edit: pb::Edit,
) -> Result<Reply, Fault> {
    let request = chat::EditRequest {
        actor: session.actor(),
        room_id: edit.room_id,
        message_id: edit.message_id,
        body: edit.body,
    };
    gateway.chat_about(&request.room_id).edit(request).await?;
    Ok(ok())
}

/// Deletes one's own message.
pub(super) async fn delete(
    gateway: &Gateway,
    session: &Session,
    delete: pb::Delete,
) -> Result<Reply, Fault> {
    let request = chat::DeleteRequest {
        actor: session.actor(),
        room_id: delete.room_id,
        message_id: delete.message_id,
    };
    gateway.chat_about(&request.room_id).delete(request).await?;
    Ok(ok())
}

/// Reads a page of messages.
pub(super) async fn history(
    gateway: &Gateway,
    session: &Session,
    history: pb::History,
) -> Result<Reply, Fault> {
    let request = chat::HistoryRequest {
        actor: session.actor(),
        room_id: history.room_id,
        before: history.before,
        limit: history.limit,
    };
    let page = gateway.chat_about(&request.room_id).history(request).await?.into_inner();
    let messages = page.messages.into_iter().map(translate::message).collect();
    Ok(server_frame::Kind::Messages(pb::Messages { messages, has_more: page.has_more }).into())
}

/// Moves the read cursor on.
pub(super) async fn read(
    gateway: &Gateway,
    session: &Session,
    read: pb::Read,
) -> Result<Reply, Fault> {
    let request =
        chat::MarkReadRequest { actor: session.actor(), room_id: read.room_id, seq: read.seq };
    gateway.chat_about(&request.room_id).mark_read(request).await?;
    Ok(ok())
}

/// Tells the room that one is typing.
pub(super) async fn typing(
    gateway: &Gateway,
    session: &Session,
    typing: pb::Typing,
) -> Result<Reply, Fault> {
    let request = chat::SetTypingRequest { actor: session.actor(), room_id: typing.room_id };
    gateway.chat_about(&request.room_id).set_typing(request).await?;
    Ok(ok())
}
