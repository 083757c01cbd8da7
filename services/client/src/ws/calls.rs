//! The protocol's requests, by name.

use std::collections::HashMap;

use mingle_proto::{
    ListValue, Value,
    gateway::v1::{
        Delete, Edit, Hello, History, MatchJoin, MatchLeave, Messages, Ok as Done, Ping, Pong,
        Position, PresenceSet, PresenceStatus, PresenceWatch, Presences, Read, Resume, Room,
        RoomJoin, RoomLeave, RoomPosition, Send, Sent, Ticket, Typing, Welcome, client_frame::Kind,
    },
    value,
};

use super::{Client, Result};

/// What is looked for: accepted values by attribute; an absent or empty list is
/// any.
type Wants<'a> = &'a [(&'a str, &'a [&'a str])];

impl Client {
    /// Says who connects; `resume` takes up an earlier session.
    pub async fn hello(&mut self, token: &str, resume: Option<Resume>) -> Result<Welcome> {
        let token = token.to_owned();
        let welcome: Welcome = self.request(Kind::Hello(Hello { token, resume })).await?;
        self.greeted(welcome.clone());
        Ok(welcome)
    }

    /// What takes this session up again on another socket, with the last
    /// position handled in each room. `None` before the hello.
    pub fn resume(&self, rooms: impl IntoIterator<Item = (String, Position)>) -> Option<Resume> {
        let token = self.welcome.as_ref()?.resume_token.clone();
        let rooms = rooms.into_iter();
        let rooms = rooms.map(|(room_id, after)| RoomPosition { room_id, after: Some(after) });
        Some(Resume { token, rooms: rooms.collect() })
    }

    /// Waits for a partner.
    pub async fn match_join(
        &mut self,
        pool: &str,
        attributes: &[(&str, &str)],
        wants: Wants<'_>,
    ) -> Result<Ticket> {
        let attributes = attributes.iter();
        let wants = wants.iter().map(|(name, values)| ((*name).to_owned(), list(values)));
        self.request(Kind::MatchJoin(MatchJoin {
            pool: pool.to_owned(),
            attributes: attributes.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            wants: wants.collect(),
        }))
        .await
    }

    /// No longer waits.
    pub async fn match_leave(&mut self, ticket_id: &str) -> Result<Ticket> {
        let ticket_id = ticket_id.to_owned();
        self.request(Kind::MatchLeave(MatchLeave { ticket_id })).await
    }

    /// Joins or follows a room; with `after`, what was missed comes first.
    pub async fn room_join(&mut self, room_id: &str, after: Option<Position>) -> Result<Room> {
        let room_id = room_id.to_owned();
        self.request(Kind::RoomJoin(RoomJoin { room_id, after })).await
    }

    /// Ends the membership.
    pub async fn room_leave(&mut self, room_id: &str) -> Result<Done> {
        let room_id = room_id.to_owned();
        self.request(Kind::RoomLeave(RoomLeave { room_id })).await
    }

    /// Says `body`. Retry with the same `client_msg_id` until it is answered.
    pub async fn send(&mut self, room_id: &str, client_msg_id: &str, body: &str) -> Result<Sent> {
        self.request(Kind::Send(Send {
            room_id: room_id.to_owned(),
            client_msg_id: client_msg_id.to_owned(),
            body: body.to_owned(),
            metadata: HashMap::new(),
        }))
        .await
    }

    /// Replaces the body of one's own message.
    pub async fn edit(&mut self, room_id: &str, message_id: &str, body: &str) -> Result<Done> {
        self.request(Kind::Edit(Edit {
            room_id: room_id.to_owned(),
            message_id: message_id.to_owned(),
            body: body.to_owned(),
        }))
        .await
    }

    /// Deletes one's own message.
    pub async fn delete(&mut self, room_id: &str, message_id: &str) -> Result<Done> {
        let (room_id, message_id) = (room_id.to_owned(), message_id.to_owned());
        self.request(Kind::Delete(Delete { room_id, message_id })).await
    }

    /// Reads up to `limit` messages before seq `before` (0: the newest).
    pub async fn history(&mut self, room_id: &str, before: u64, limit: u32) -> Result<Messages> {
        let room_id = room_id.to_owned();
        self.request(Kind::History(History { room_id, before, limit })).await
    }

    /// Moves the read cursor on.
    pub async fn read(&mut self, room_id: &str, seq: u64) -> Result<Done> {
        let room_id = room_id.to_owned();
        self.request(Kind::Read(Read { room_id, seq })).await
    }

    /// Tells the room that one is typing.
    pub async fn typing(&mut self, room_id: &str) -> Result<Done> {
        let room_id = room_id.to_owned();
        self.request(Kind::Typing(Typing { room_id })).await
    }

    /// Follows these users instead of those before.
    pub async fn presence_watch(&mut self, user_ids: &[&str]) -> Result<Presences> {
        let user_ids = user_ids.iter().map(|user| (*user).to_owned()).collect();
        self.request(Kind::PresenceWatch(PresenceWatch { user_ids })).await
    }

    /// Shows `status`.
    pub async fn presence_set(&mut self, status: PresenceStatus) -> Result<Done> {
        let status = status.into();
        self.request(Kind::PresenceSet(PresenceSet { status })).await
    }

    /// Asks for a sign of life.
    pub async fn ping(&mut self) -> Result<Pong> {
        self.request(Kind::Ping(Ping {})).await
    }
}

fn list(values: &[&str]) -> ListValue {
    let value = |text: &&str| Value { kind: Some(value::Kind::StringValue((*text).to_owned())) };
    ListValue { values: values.iter().map(value).collect() }
}
