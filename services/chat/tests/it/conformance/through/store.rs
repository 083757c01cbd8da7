//! The service as a store, method by method.

use std::collections::HashMap;

use async_trait::async_trait;
use mingle_chat::{
    domain::{
        Answer, Bookmark, Intent, Membership, Position, Refusal, Verdict, View, Wish, Written,
    },
    store::{Page, Replay, Store},
};
use mingle_proto::chat::v1::{
    self as proto, GetRoomRequest, HistoryRequest, ListMembersRequest, ListRoomsRequest,
    ReplayRequest, SharedRoomsRequest,
};
use mingle_store::Result;

use super::{
    NoRpc, Through,
    told::{self, outcome},
};

#[async_trait]
impl Store for Through {
    async fn write(&self, wish: Wish, traceparent: String) -> Result<Verdict> {
        if let Intent::CloseIdle { .. } = wish.intent {
            return self.beneath(NoRpc::CloseIdle).write(wish, traceparent).await;
        }
        let mut room_id = wish.room_id.clone();
        let heads = self.heads(std::slice::from_ref(&room_id)).await?;
        let mut before = heads.get(&room_id).cloned().unwrap_or_default();
        let creation = matches!(wish.intent, Intent::Create(_));
        let answer = match self.ask(wish, &before).await? {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Answer::Room { view, new } = &answer
            && creation
        {
            room_id.clone_from(&view.room.room_id);
            before = if *new { Position::default() } else { view.room.head.clone() };
        }
        Ok(Ok(Written { answer, events: self.since(&room_id, &before).await? }))
    }

    async fn is_said(&self, room_id: &str, sender: &str, key: &str) -> Result<bool> {
        self.beneath(NoRpc::IsSaid).is_said(room_id, sender, key).await
    }

    async fn view(&self, room_id: &str, user: &str) -> Result<Option<View>> {
        let stored = self.beneath(NoRpc::Untold).view(room_id, user).await?;
        // What a view lets a user do, the service does.
        let listed = self.listed(room_id, user).await.map(|member| member.is_some());
        let readable = stored.as_ref().filter(|view| view.may_read());
        assert_eq!(listed, readable.map(View::is_member).ok_or(Refusal::RoomNotFound));
        let request = GetRoomRequest { actor: user.to_owned(), room_id: room_id.to_owned() };
        match outcome(self.client().get_room(request).await) {
            Ok(told) => {
                let stored = stored.filter(View::may_see).expect("only who may see it is told");
                Ok(Some(told::view(stored, told.room.unwrap())))
            }
            // A stranger is told that there is none; a store says who asks.
            Err(Refusal::RoomNotFound) => Ok(stored.filter(|view| !view.may_see())),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    async fn list(
        &self,
        user: &str,
        bookmark: Option<&Bookmark>,
        limit: usize,
    ) -> Result<Vec<View>> {
        let page_token = match bookmark {
            None => String::new(),
            Some(last) => {
                let token = (user.to_owned(), last.room_id.clone());
                self.tokens.lock().get(&token).cloned().expect("the end of a page that was read")
            }
        };
        if bookmark.is_some() && page_token.is_empty() {
            return Ok(Vec::new());
        }
        let page_size = u32::try_from(limit).unwrap();
        let request = ListRoomsRequest { actor: user.to_owned(), page_size, page_token };
        let told = outcome(self.client().list_rooms(request).await).unwrap();
        let mut views = Vec::new();
        for room in told.rooms {
            views.push(told::view(self.untold(&room.room_id, user).await?, room));
        }
        if let Some(last) = views.last() {
            let end = (user.to_owned(), last.room.room_id.clone());
            self.tokens.lock().insert(end, told.next_page_token);
        }
        Ok(views)
    }

    async fn members(&self, room_id: &str) -> Result<Vec<Membership>> {
        let actor = self.reader(room_id).await?;
        let request = ListMembersRequest { actor, room_id: room_id.to_owned() };
        let told = outcome(self.client().list_members(request).await).unwrap_or_default();
        let stored = self.beneath(NoRpc::Untold).members(room_id).await?;
        let of = |user: &str| stored.iter().find(|member| member.user_id == user).cloned();
        let members = told.members.into_iter();
        Ok(members.map(|member| told::member(of(&member.user_id), member)).collect())
    }

    async fn history(&self, room_id: &str, before: u64, limit: usize) -> Result<Page> {
        let actor = self.reader(room_id).await?;
        // From the end is said by 0.
        let before = if before == u64::MAX { 0 } else { before };
        let (room_id, limit) = (room_id.to_owned(), u32::try_from(limit).unwrap());
        let request = HistoryRequest { actor, room_id, before, limit };
        Ok(told::history(outcome(self.client().history(request).await).unwrap_or_default()))
    }

    async fn replay(
        &self,
        room_id: &str,
        after: &Position,
        limit: usize,
    ) -> Result<Option<Replay>> {
        let request = ReplayRequest {
            actor: self.reader(room_id).await?,
            room_id: room_id.to_owned(),
            after: Some(proto::Position { seq: after.seq, id: after.id.clone() }),
            limit: u32::try_from(limit).unwrap(),
        };
        let actor = request.actor.clone();
        match outcome(self.client().replay(request).await) {
            Ok(told) => Ok(Some(told::replay(self.untold(room_id, &actor).await?, told))),
            Err(Refusal::RoomNotFound) => Ok(None),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    async fn shared(&self, user: &str, others: &[String]) -> Result<Vec<String>> {
        let request = SharedRoomsRequest { actor: user.to_owned(), user_ids: others.to_vec() };
        Ok(outcome(self.client().shared_rooms(request).await).unwrap().user_ids)
    }

    async fn range(&self, room_id: &str, after: u64, limit: usize) -> Result<Page> {
        self.beneath(NoRpc::Range).range(room_id, after, limit).await
    }

    async fn heads(&self, room_ids: &[String]) -> Result<HashMap<String, Position>> {
        self.beneath(NoRpc::Heads).heads(room_ids).await
    }

    async fn idle(&self, since: i64, limit: usize) -> Result<Vec<String>> {
        self.beneath(NoRpc::Idle).idle(since, limit).await
    }

    async fn expire(&self, before: i64, limit: usize) -> Result<u64> {
        self.beneath(NoRpc::Expire).expire(before, limit).await
    }
}
