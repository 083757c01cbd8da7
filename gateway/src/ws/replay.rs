//! Reads a room's log for one socket until it can be handed events live.

use std::{future::Future, pin::Pin, sync::Arc};

use mingle_proto::{chat::v1 as chat, gateway::v1::server_frame};

use super::session::Session;
use crate::{
    fault::Fault,
    gateway::Gateway,
    hub::rooms::Followed,
    outbox::{Entry, Event, Position},
    translate,
};

/// Work that goes on after a reply.
pub(crate) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A page of the log, and whether it follows on from where it was asked for.
pub(super) async fn page(
    gateway: &Gateway,
    session: &Session,
    room: &str,
    after: &Position,
) -> Result<chat::ReplayResponse, Fault> {
    let request = chat::ReplayRequest {
        actor: session.actor(),
        room_id: room.to_owned(),
        after: Some(chat::Position { seq: after.seq, id: after.id.clone() }),
        limit: 0,
    };
    Ok(gateway.chat().replay(request).await?.into_inner())
}

/// Where a replay goes on.
pub(super) struct Replay {
    /// The stay in the room.
    pub followed: Arc<Followed>,
    /// The last event that the socket has, or that `first` begins after.
    pub after: Position,
    /// A page that was read already.
    pub first: Option<chat::ReplayResponse>,
}

impl Replay {
    /// Hands the socket every event after its position, page by page as it
    /// takes them, and ends with the socket live. When the log cannot be read
    /// on without a hole the socket is told of a gap and is live at the head.
    pub(super) async fn run(mut self, gateway: Arc<Gateway>, session: Arc<Session>) {
        let room = self.followed.id().clone();
        loop {
            let page = match self.first.take() {
                Some(page) => Ok(page),
                None => page(&gateway, &session, &room, &self.after).await,
            };
            // The room was left, or joined again with another replay.
            if !session.is_current(&self.followed) {
                return;
            }
            match page {
                Ok(page) if page.recovered => {
                    let has_more = page.has_more;
                    self.hand_over(&session, page.events);
                    session.outbox.drained().await;
                    if !has_more && self.followed.live_after(self.after.seq) {
                        return;
                    }
                }
                Err(fault) if fault.kind.is_transient() => {
                    let pause = fault.retry_after.unwrap_or_default();
                    tokio::time::sleep(pause.max(std::time::Duration::from_millis(100))).await;
                }
                // The membership ended, or the position can no longer be
                // proved: there is nothing to go on from.
                Ok(_) | Err(_) => {
                    self.followed.live_at_head();
                    session.outbox.push(Entry::Event(translate::gap(&room)));
                    return;
                }
            }
        }
    }

    fn hand_over(&mut self, session: &Session, events: Vec<chat::Event>) {
        if let Some(last) = events.last() {
            self.after = Position { seq: last.seq, id: last.id.clone() };
        }
        let room = self.followed.id();
        let shared = events.into_iter().filter_map(|event| translate::event(room, event));
        session.outbox.push_replay(shared);
    }
}

/// The state of the system, for a socket that just greeted.
pub(crate) fn degraded(states: Vec<String>) -> Arc<Event> {
    let kind = mingle_proto::gateway::v1::Degraded { states };
    Event::new(server_frame::Kind::Degraded(kind))
}
