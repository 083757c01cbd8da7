//! What a person does in a room: says things by socket or HTTP, reads, leaves.

use std::{collections::HashMap, sync::atomic::Ordering::Relaxed};

use ::http::Method;
use mingle_client::ws::proto::{
    Ok as Done, Position, PresenceStatus, PresenceWatch, Presences, RoomLeave, Send as Say, Sent,
    client_frame::Kind as Ask,
};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    journal::{Outcome, Page, Send, What},
    person::{ANSWER, Failure, Person},
};
use crate::{
    http::{self, Answer},
    world::{number, token},
};

/// Messages that are read at once.
const PAGE: usize = 5;

impl Person {
    /// Says something, by the same key until it is acknowledged or refused for
    /// good, on the socket or over HTTP as it happens. Some give up when the
    /// outcome is unknown.
    pub(crate) async fn say(&mut self, by_http: f64, gives_up: f64) {
        let Some(room) = self.room.clone() else { return };
        let key = format!("{}-{}", self.journal.user, self.journal.sends.len());
        let body = format!("{} says {key}", self.journal.user);
        self.journal.note(format_args!("says {key} in {room}"));
        let (at, begin) = (self.journal.sends.len(), Instant::now());
        self.journal.sends.push(Send {
            room,
            key: key.clone(),
            body,
            outcome: Outcome::Unknown,
            answered: None,
        });
        let outcome = loop {
            let said = if self.dice.random_bool(by_http) {
                self.say_by_http(at).await
            } else {
                self.say_by_socket(at).await
            };
            match said {
                Ok(position) => break Outcome::Acknowledged(position),
                Err(Failure::Refused(reason)) => break Outcome::Refused(reason),
                Err(Failure::Again) if self.dice.random_bool(gives_up) => break Outcome::Unknown,
                Err(Failure::Again) if self.pause(begin, &key).await => {}
                Err(Failure::Again) => break Outcome::Unknown,
            }
        };
        self.journal.note(format_args!("{key}: {outcome:?}"));
        if matches!(outcome, Outcome::Acknowledged(_)) {
            self.journal.waited(What::Say, begin);
            self.journal.sends[at].answered = Some(Instant::now());
            self.tally.acknowledged.fetch_add(1, Relaxed);
            let in_trouble = self.tally.trouble.load(Relaxed);
            self.tally.in_trouble.fetch_add(in_trouble.into(), Relaxed);
        }
        self.journal.sends[at].outcome = outcome;
    }

    async fn say_by_socket(&mut self, at: usize) -> Result<Position, Failure> {
        let Send { room, key, body, .. } = self.journal.sends[at].clone();
        let metadata = HashMap::new();
        let say = Say { room_id: room, client_msg_id: key, body, metadata };
        let sent: Sent = self.try_ask(Ask::Send(say)).await?;
        Ok(Position { seq: sent.seq, id: sent.message_id })
    }

    async fn say_by_http(&mut self, at: usize) -> Result<Position, Failure> {
        let Send { room, key, body, .. } = self.journal.sends[at].clone();
        let path = format!("/api/rooms/{room}/messages");
        let body = json!({"clientMsgId": key, "body": body});
        let sent = self.try_http(Method::POST, &path, &body.to_string()).await?;
        let id = sent["messageId"].as_str().unwrap_or_default().to_owned();
        Ok(Position { seq: number(&sent["seq"]), id })
    }

    /// One call of any gateway.
    async fn try_http(&mut self, method: Method, path: &str, body: &str) -> Result<Value, Failure> {
        let gateway = self.gateway();
        let request = http::request(method, path, &token(&self.journal.user), body.to_owned());
        let answer = match timeout(ANSWER, http::try_send(gateway, request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                self.journal.note(format_args!("no answer of {gateway}: {error}"));
                self.journal.failed("no connection");
                return Err(Failure::Again);
            }
            Err(_) => {
                self.journal.note(format_args!("no answer of {gateway} in time"));
                self.journal.failed("no answer");
                return Err(Failure::Again);
            }
        };
        let Answer { status, text, body, .. } = answer;
        if status.is_success() {
            return Ok(body);
        }
        let wait = body["retryAfterMs"].as_u64().and_then(|wait| wait.try_into().ok());
        let reason = body["reason"].as_str().unwrap_or_default();
        Err(self.refusal(format_args!("{path}: {text}"), reason, wait.unwrap_or(0)))
    }

    /// The same until there is an answer; `None` when it is refused for good.
    async fn get(&mut self, path: &str) -> Option<Value> {
        let begin = Instant::now();
        loop {
            match self.try_http(Method::GET, path, "").await {
                Ok(answer) => return Some(answer),
                Err(Failure::Again) if self.pause(begin, path).await => {}
                Err(_) => return None,
            }
        }
    }

    /// Reads the last page of the room, and the one before it, which nothing is added to;
    /// what all pages say is audited in the end.
    pub(crate) async fn read_history(&mut self) {
        let Some(room) = self.room.clone() else { return };
        let Some(last) = self.read_page(&room, 0).await else { return };
        if let Some(before) = last.first().map(|first| number(&first["seq"]))
            && let Some(messages) = self.read_page(&room, before).await
        {
            self.journal.pages.push(Page { room, before, limit: PAGE, messages });
        }
    }

    async fn read_page(&mut self, room: &str, before: u64) -> Option<Vec<Value>> {
        let begin = Instant::now();
        let path = format!("/api/rooms/{room}/messages?before={before}&limit={PAGE}");
        let answer = self.get(&path).await?;
        let messages = answer["messages"].as_array().cloned().unwrap_or_default();
        self.journal.note(format_args!("read {} messages of {room}", messages.len()));
        self.journal.waited(What::Read, begin);
        answer["messages"].is_array().then_some(messages)
    }

    /// Follows a user, and asks for them over HTTP.
    pub(crate) async fn watch(&mut self, user: &str) {
        let watch = Ask::PresenceWatch(PresenceWatch { user_ids: vec![user.to_owned()] });
        if let Ok(Presences { presences }) = self.ask(watch).await {
            presences.iter().for_each(|it| self.see(&it.user_id, it.status()));
        }
        let begin = Instant::now();
        if let Some(told) = self.get(&format!("/api/presence?user={user}")).await
            && let Some(status) = told["presences"][0]["status"].as_str()
            && let Some(status) = PresenceStatus::from_str_name(status)
        {
            self.journal.waited(What::See, begin);
            self.see(user, status);
        }
    }

    /// Leaves the room: nothing of it is heard afterwards.
    pub(crate) async fn leave(&mut self) {
        let Some(room) = self.room.clone() else { return };
        self.journal.note(format_args!("leaves {room}"));
        // Refused is who left before and was not told.
        let _: Result<Done, _> =
            self.ask(Ask::RoomLeave(RoomLeave { room_id: room.clone() })).await;
        let stay = self.journal.stays.iter_mut().rev().find(|stay| stay.room == room);
        if let Some(stay) = stay {
            stay.left = true;
        }
        self.room = None;
        self.tally.left.fetch_add(1, Relaxed);
    }
}
