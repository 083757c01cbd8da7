//! Wishes as RPCs.

use mingle_chat::domain::{
    Answer, Change, First, Intent, Kind, NewMessage, NewRoom, Position, Refusal, Wish,
};
use mingle_proto::chat::v1::{
    self as proto, CloseRoomRequest, CreateRoomRequest, DeleteRequest, EditRequest, JoinRequest,
    LeaveRequest, MarkReadRequest, SendRequest,
};
use mingle_store::Result;
use tonic::Request;

use super::{
    Through,
    told::{self, outcome},
};

impl Through {
    /// `before` is where the room stood.
    pub(super) async fn ask(
        &self,
        wish: Wish,
        before: &Position,
    ) -> Result<Result<Answer, Refusal>> {
        let Wish { room_id, intent, trace_id } = wish;
        Ok(match intent {
            Intent::Create(new) => return self.create(new).await,
            Intent::Join { actor } => return self.join(room_id, actor, before).await,
            Intent::Read { actor, seq } => return Ok(self.mark_read(room_id, actor, seq).await),
            Intent::CloseIdle { .. } => unreachable!("it has no RPC"),
            Intent::Message(new) => self.send(room_id, new, &trace_id).await,
            Intent::Edit { actor, message_id, body } => {
                let request = EditRequest { actor, room_id, message_id, body };
                outcome(self.client().edit(request).await).map(|told| at(told.position))
            }
            Intent::Delete { actor, message_id } => {
                let request = DeleteRequest { actor, room_id, message_id };
                outcome(self.client().delete(request).await).map(|told| at(told.position))
            }
            Intent::Leave { actor } => {
                let request = LeaveRequest { actor, room_id };
                outcome(self.client().leave(request).await).map(|_| Answer::Done)
            }
            Intent::Close { actor } => {
                let request = CloseRoomRequest { actor, room_id };
                outcome(self.client().close_room(request).await).map(|_| Answer::Done)
            }
        })
    }

    async fn create(&self, new: NewRoom) -> Result<Result<Answer, Refusal>> {
        let kind = match new.kind {
            Kind::Pair => proto::RoomKind::Pair,
            Kind::Direct => proto::RoomKind::Direct,
            Kind::Channel => proto::RoomKind::Channel,
        };
        let request = CreateRoomRequest {
            actor: new.creator.clone(),
            kind: kind.into(),
            name: new.name,
            member_ids: new.members.clone(),
            external_id: new.external_id.unwrap_or_default(),
        };
        let told = match outcome(self.client().create_room(request).await) {
            Ok(told) => told,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let room = told.room.unwrap();
        self.remember(&room.room_id, new.members);
        let stored = self.untold(&room.room_id, &new.creator).await?;
        let view = Box::new(told::view(stored, room));
        Ok(Ok(Answer::Room { view, new: told.created }))
    }

    async fn join(
        &self,
        room_id: String,
        actor: String,
        before: &Position,
    ) -> Result<Result<Answer, Refusal>> {
        let request = JoinRequest { actor: actor.clone(), room_id: room_id.clone() };
        let room = match outcome(self.client().join(request).await) {
            Ok(told) => told.room.unwrap(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.remember(&room_id, [actor.clone()]);
        let stored = self.untold(&room_id, &actor).await?;
        let joined = Change::Joined { user_id: actor };
        let gained = self.since(&room_id, before).await?;
        let new = gained.iter().any(|event| event.change == joined);
        Ok(Ok(Answer::Room { view: Box::new(told::view(stored, room)), new }))
    }

    async fn send(
        &self,
        room_id: String,
        new: NewMessage,
        trace_id: &str,
    ) -> Result<Answer, Refusal> {
        let mut request = Request::new(SendRequest {
            actor: new.sender,
            room_id,
            client_msg_id: new.client_msg_id,
            body: new.body,
            metadata: new.metadata.into_iter().collect(),
        });
        let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-01").parse().unwrap();
        request.metadata_mut().insert("traceparent", traceparent);
        let told = outcome(self.client().send(request).await)?;
        Ok(Answer::Sent(First {
            hash: new.hash,
            position: Position { seq: told.seq, id: told.message_id },
            sent_at: told::millis(told.sent_at),
            trace_id: told.trace_id,
        }))
    }

    async fn mark_read(&self, room_id: String, actor: String, seq: u64) -> Result<Answer, Refusal> {
        let before = self.cursor(&room_id, &actor).await;
        let request = MarkReadRequest { actor: actor.clone(), room_id: room_id.clone(), seq };
        let unread = outcome(self.client().mark_read(request).await)?.unread;
        let after = self.cursor(&room_id, &actor).await;
        Ok(Answer::Read { unread, moved_to: after.filter(|_| after != before) })
    }

    /// How far a member has read.
    async fn cursor(&self, room_id: &str, user: &str) -> Option<u64> {
        self.listed(room_id, user).await.ok().flatten().map(|member| member.read_seq)
    }
}

fn at(position: Option<proto::Position>) -> Answer {
    Answer::At(told::position(position.unwrap()))
}
