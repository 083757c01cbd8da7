//! What is read of rooms.

use mingle_proto::chat::v1 as proto;

use super::{Answer, Chat};
use crate::{
    domain::{Bookmark, Position, Refusal, Unproved, View},
    store::Replay,
    wire,
};

/// Rooms, and messages, of one page.
const PAGE: u32 = 50;
/// Events of one page.
const EVENTS: u32 = 200;
/// Users asked for at once.
const USERS: usize = 256;

impl Chat {
    pub(super) async fn answer_get_room(
        &self,
        request: proto::GetRoomRequest,
    ) -> Answer<proto::GetRoomResponse> {
        let proto::GetRoomRequest { actor, room_id } = request;
        let view = self.seen(&room_id, &actor, View::may_see).await?;
        Ok(proto::GetRoomResponse { room: Some(wire::room(&view)) })
    }

    /// Checks who asks for what, then reads the room as they see it.
    async fn seen(&self, room_id: &str, actor: &str, may: fn(&View) -> bool) -> Answer<View> {
        wire::user("actor", actor)?;
        wire::room_id(room_id)?;
        self.view(room_id, actor, may).await
    }

    pub(super) async fn answer_list_rooms(
        &self,
        request: proto::ListRoomsRequest,
    ) -> Answer<proto::ListRoomsResponse> {
        wire::user("actor", &request.actor)?;
        let limit = wire::page("page_size", request.page_size, PAGE)?;
        let bookmark = wire::parse_bookmark(&request.page_token)?;
        let mut views = self.store.list(&request.actor, bookmark.as_ref(), limit + 1).await?;
        let more = views.len() > limit;
        views.truncate(limit);
        let last = views.last().filter(|_| more).map(|view| Bookmark {
            last_active_at: view.room.last_active_at,
            room_id: view.room.room_id.clone(),
        });
        let next_page_token = last.as_ref().map(wire::print_bookmark).unwrap_or_default();
        Ok(proto::ListRoomsResponse {
            rooms: views.iter().map(wire::room).collect(),
            next_page_token,
        })
    }

    pub(super) async fn answer_list_members(
        &self,
        request: proto::ListMembersRequest,
    ) -> Answer<proto::ListMembersResponse> {
        self.seen(&request.room_id, &request.actor, View::may_read).await?;
        let members = self.store.members(&request.room_id).await?;
        Ok(proto::ListMembersResponse { members: members.iter().map(wire::member).collect() })
    }

    pub(super) async fn answer_history(
        &self,
        request: proto::HistoryRequest,
    ) -> Answer<proto::HistoryResponse> {
        let limit = wire::page("limit", request.limit, PAGE)?;
        let view = self.seen(&request.room_id, &request.actor, View::may_read).await?;
        let before = if request.before == 0 { u64::MAX } else { request.before };
        let load = async || {
            let page = self.store.history(&request.room_id, before, limit).await?;
            let messages = page.events.iter().filter_map(wire::message).collect();
            Ok(proto::HistoryResponse { messages, has_more: page.has_more })
        };
        self.pages.get(&view.room, (before, limit), load).await
    }

    pub(super) async fn answer_replay(
        &self,
        request: proto::ReplayRequest,
    ) -> Answer<proto::ReplayResponse> {
        let limit = wire::page("limit", request.limit, EVENTS)?;
        let view = self.seen(&request.room_id, &request.actor, View::may_see).await?;
        let after = request.after.unwrap_or_default();
        let after = Position { seq: after.seq, id: after.id };
        let up_to = view.lacks_up_to(after.seq).filter(|_| !view.may_read());
        if !view.may_read() && up_to.is_none() {
            return Err(Refusal::RoomNotFound.into());
        }
        let replay = self.store.replay(&request.room_id, &after, limit).await?;
        let mut replay = replay.ok_or(Refusal::RoomNotFound)?;
        if let Some(seq) = up_to {
            self.end_at(seq, &mut replay).await?;
        }
        let reason = replay.proved.err().map(Unproved::name).unwrap_or_default();
        Ok(proto::ReplayResponse {
            events: replay.page.events.iter().map(wire::event).collect(),
            head: Some(wire::position(&replay.room.head)),
            recovered: replay.proved.is_ok(),
            reason: reason.to_owned(),
            has_more: replay.page.has_more,
        })
    }

    /// Ends a replay with the event at `seq`, as if the log did: what came
    /// later, and the newest page in place of what cannot be proved, is not for
    /// those who left by it.
    async fn end_at(&self, seq: u64, replay: &mut Replay) -> Answer<()> {
        let last = self.store.range(&replay.room.room_id, seq.saturating_sub(1), 1).await?;
        let last = last.events.into_iter().next().filter(|event| event.seq == seq);
        let last = last.filter(|_| replay.proved.is_ok()).ok_or(Refusal::RoomNotFound)?;
        let events = &mut replay.page.events;
        events.retain(|event| event.seq <= seq);
        replay.page.has_more = events.last().is_some_and(|event| event.seq < seq);
        replay.room.head = Position { seq, id: last.id };
        Ok(())
    }

    pub(super) async fn answer_shared_rooms(
        &self,
        request: proto::SharedRoomsRequest,
    ) -> Answer<proto::SharedRoomsResponse> {
        wire::user("actor", &request.actor)?;
        wire::users("user_ids", &request.user_ids, USERS)?;
        let user_ids = self.store.shared(&request.actor, &request.user_ids).await?;
        Ok(proto::SharedRoomsResponse { user_ids })
    }
}
