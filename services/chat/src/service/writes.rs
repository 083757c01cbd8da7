//! What changes a room.

use mingle_client::ratelimit::{Charge, Denied};
use mingle_proto::chat::v1 as proto;
use mingle_runtime::telemetry;
use proto::{ReadSignal, Signal, signal};

use super::{Answer, Chat, charge};
use crate::{
    domain::{Answer as Told, Intent, NewMessage, Refusal, View, Written},
    error::Error,
    wire,
};

impl Chat {
    pub(super) async fn answer_create_room(
        &self,
        request: proto::CreateRoomRequest,
    ) -> Answer<proto::CreateRoomResponse> {
        let written = self.write(Self::new_room_id(), wire::create(request)?).await?;
        let Told::Room { view, new } = written.answer else { return Err(Error::Unexpected) };
        Ok(proto::CreateRoomResponse { room: Some(wire::room(&view)), created: new })
    }

    pub(super) async fn answer_close_room(
        &self,
        request: proto::CloseRoomRequest,
    ) -> Answer<proto::CloseRoomResponse> {
        let (room_id, intent) = wire::close(request)?;
        self.write(room_id, intent).await?;
        Ok(proto::CloseRoomResponse {})
    }

    pub(super) async fn answer_join(
        &self,
        request: proto::JoinRequest,
    ) -> Answer<proto::JoinResponse> {
        let (room_id, intent) = wire::join(request)?;
        let written = self.write(room_id, intent).await?;
        let Told::Room { view, .. } = written.answer else { return Err(Error::Unexpected) };
        Ok(proto::JoinResponse { room: Some(wire::room(&view)) })
    }

    pub(super) async fn answer_leave(
        &self,
        request: proto::LeaveRequest,
    ) -> Answer<proto::LeaveResponse> {
        let (room_id, intent) = wire::leave(request)?;
        self.write(room_id, intent).await?;
        Ok(proto::LeaveResponse {})
    }

    pub(super) async fn answer_send(
        &self,
        request: proto::SendRequest,
    ) -> Answer<proto::SendResponse> {
        let (room_id, intent) = wire::send(request)?;
        let Intent::Message(message) = &intent else { return Err(Error::Unexpected) };
        let charge = self.charge(&room_id, message).await?;
        let written = self.write(room_id.clone(), intent).await;
        if let Some(charge) = charge {
            self.charges.settle(charge, charge::work(&written)).await;
        }
        let written = written?;
        let Told::Sent(first) = written.answer else { return Err(Error::Unexpected) };
        if written.events.is_empty() {
            self.announce_again(&room_id, first.position.seq).await;
        }
        Ok(proto::SendResponse {
            message_id: first.position.id,
            seq: first.position.seq,
            sent_at: Some(wire::timestamp(first.sent_at)),
            trace_id: first.trace_id,
        })
    }

    /// What to charge for is charged; `None` when it was said before.
    async fn charge(&self, room_id: &str, message: &NewMessage) -> Answer<Option<Charge>> {
        let denied = match self.charges.charge(&message.sender, &charge::id(room_id, message)).await
        {
            Ok(charge) => return Ok(Some(charge)),
            Err(denied @ Denied::Broken(_)) => return Err(denied.into()),
            Err(denied) => denied,
        };
        let NewMessage { sender, client_msg_id, .. } = message;
        let said = self.store.is_said(room_id, sender, client_msg_id).await?;
        if said { Ok(None) } else { Err(denied.into()) }
    }

    pub(super) async fn answer_edit(
        &self,
        request: proto::EditRequest,
    ) -> Answer<proto::EditResponse> {
        let (room_id, intent) = wire::edit(request)?;
        let position = self.changed(&room_id, self.write(room_id.clone(), intent).await?).await?;
        Ok(proto::EditResponse { position: Some(position) })
    }

    pub(super) async fn answer_delete(
        &self,
        request: proto::DeleteRequest,
    ) -> Answer<proto::DeleteResponse> {
        let (room_id, intent) = wire::delete(request)?;
        let position = self.changed(&room_id, self.write(room_id.clone(), intent).await?).await?;
        Ok(proto::DeleteResponse { position: Some(position) })
    }

    async fn changed(&self, room_id: &str, written: Written) -> Answer<proto::Position> {
        let Told::At(position) = &written.answer else { return Err(Error::Unexpected) };
        if written.events.is_empty() {
            self.announce_again(room_id, position.seq).await;
        }
        Ok(wire::position(position))
    }

    pub(super) async fn answer_mark_read(
        &self,
        request: proto::MarkReadRequest,
    ) -> Answer<proto::MarkReadResponse> {
        let user_id = request.actor.clone();
        let (room_id, intent) = wire::mark_read(request)?;
        let written = self.write(room_id.clone(), intent).await?;
        let Told::Read { unread, moved_to } = written.answer else { return Err(Error::Unexpected) };
        if let Some(seq) = moved_to {
            self.tell(&room_id, signal::Kind::Read(ReadSignal { user_id, seq }));
        }
        Ok(proto::MarkReadResponse { unread })
    }

    pub(super) async fn answer_set_typing(
        &self,
        request: proto::SetTypingRequest,
    ) -> Answer<proto::SetTypingResponse> {
        let proto::SetTypingRequest { actor, room_id } = request;
        wire::user("actor", &actor)?;
        wire::room_id(&room_id)?;
        let view = self.view(&room_id, &actor, View::may_read).await?;
        if view.room.closed {
            return Err(Refusal::RoomClosed.into());
        }
        self.tell(&room_id, signal::Kind::TypingUserId(actor));
        Ok(proto::SetTypingResponse {})
    }

    fn tell(&self, room_id: &str, kind: signal::Kind) {
        let signal = Signal { kind: Some(kind) };
        self.hub.board().signal(room_id, signal, &telemetry::traceparent());
    }
}
