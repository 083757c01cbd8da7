//! What is written to a socket, and what that tells.

use std::sync::Arc;

use axum::extract::ws::Message;
use bytes::Bytes;
use futures::SinkExt as _;
use mingle_proto::gateway::v1::server_frame;

use super::{Connection, codec, end::End};
use crate::{
    outbox::{Entry, Event},
    ws::handle,
};

/// What goes out in one write.
const WRITE: usize = 64 * 1024;

impl Connection {
    /// Answers a request.
    pub(super) async fn reply(&mut self, id: u32, kind: server_frame::Kind) -> Result<(), End> {
        let message = codec::reply(self.outbox.encoding(), id, kind);
        self.write(vec![message]).await
    }

    /// Writes everything that waits, but for the room of the request. Nothing
    /// comes before the welcome.
    pub(super) async fn write_waiting(&mut self) -> Result<(), End> {
        if self.session.is_none() {
            return Ok(());
        }
        loop {
            let held = self.request.as_ref().and_then(|request| request.room.as_deref());
            let entries = self.outbox.take(WRITE, held);
            if entries.is_empty() {
                return Ok(());
            }
            let mut told = Vec::new();
            let mut messages = Vec::with_capacity(entries.len());
            for entry in entries {
                match entry {
                    Entry::Event(event) => messages.extend(self.note(&event)),
                    Entry::Matched(event, ticket) => {
                        messages.extend(self.note(&event));
                        told.push(ticket);
                    }
                    Entry::CatchUp(room) => self.catch_up(&room),
                    Entry::Over(ticket) => self.forget_ticket(&ticket),
                }
            }
            self.tell(messages, told).await?;
        }
    }

    /// Writes messages that tell the outcomes of these tickets, and behind them
    /// a ping whose pong proves that they arrived.
    pub(super) async fn tell(
        &mut self,
        mut messages: Vec<Message>,
        told: Vec<Arc<str>>,
    ) -> Result<(), End> {
        if !told.is_empty() {
            messages.push(self.ping());
        }
        self.write(messages).await?;
        if let Some(session) = &self.session {
            told.iter().for_each(|ticket| session.was_told(ticket, self.pings));
        }
        Ok(())
    }

    /// The next ping.
    pub(super) fn ping(&mut self) -> Message {
        self.pings += 1;
        Message::Ping(Bytes::copy_from_slice(&self.pings.to_be_bytes()))
    }

    /// The event as a message, unless it is of a room that was left since.
    fn note(&self, event: &Event) -> Option<Message> {
        if let (Some(session), Some(room)) = (&self.session, &event.room)
            && !session.writes(room, event)
        {
            return None;
        }
        Some(event.message(self.outbox.encoding()))
    }

    fn forget_ticket(&self, ticket: &str) {
        self.session.iter().for_each(|session| session.remove_ticket(ticket));
    }

    fn catch_up(&mut self, room: &str) {
        let Some(session) = &self.session else { return };
        let job = handle::rooms::catch_up(self.gateway.clone(), session.clone(), room);
        self.jobs.extend(job);
    }

    /// Writes messages in one go; ends when the outbox is told to close, which
    /// a peer that does not read brings about.
    pub(super) async fn write(&mut self, messages: Vec<Message>) -> Result<(), End> {
        let (socket, outbox) = (&mut self.socket, &self.outbox);
        let written = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            written = written => written.map_err(|_| End::Gone),
            closing = outbox.closed() => Err(End::Close(closing)),
        }
    }
}
