//! The rooms that sockets of this process follow: one subscription per room
//! and process, one copy of each event, delivered without a hole.
//!
//! A socket's place in a room is `next`, the seq it needs next. It is *live*
//! while the hub hands it events as they come, and *reading* while a replay
//! job reads the log for it; the job ends by becoming live in the same lock
//! under which events are handed out, so nothing falls between the two.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dashmap::DashMap;
use mingle_proto::{
    chat::v1::{self as chat, chat_service_client::ChatServiceClient},
    errors::v1::Reason,
};
use mingle_runtime::{grpc::Transport, status::Kind};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::link::{Feed, Follow};
use crate::{
    fault::Fault,
    outbox::{Entry, Event, Outbox, Position},
    translate,
};

/// How long a room's first subscriber waits for the service to confirm.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Rooms named in one request when a stream opens.
const CHUNK: usize = 500;

/// One socket in one room.
struct Member {
    socket: u64,
    /// Tells this stay from an earlier one of the same socket.
    stay: u64,
    user: Arc<str>,
    outbox: Arc<Outbox>,
    /// The seq it is handed next; `None` while it reads.
    next: Option<u64>,
}

/// One room.
pub(crate) struct Room {
    id: Arc<str>,
    inner: Mutex<Inner>,
    opened: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    head: Position,
    members: Vec<Member>,
}

/// The rooms of this process.
pub(crate) struct Rooms {
    rooms: DashMap<Arc<str>, Arc<Room>>,
    requests: mpsc::Sender<chat::SubscribeRequest>,
    client: ChatServiceClient<Transport>,
    next_stay: AtomicU64,
}

impl Rooms {
    /// Follows through `chat`; `requests` feeds the link.
    pub(crate) fn new(chat: Transport, requests: mpsc::Sender<chat::SubscribeRequest>) -> Self {
        let client = ChatServiceClient::new(chat);
        Self { rooms: DashMap::new(), requests, client, next_stay: AtomicU64::new(0) }
    }

    /// Enters a socket into a room, reading; it leaves with the answer's
    /// drop. Returns once events are followed, so that a log read afterwards
    /// meets them.
    ///
    /// **Errors**: UNAVAILABLE when chat does not confirm in time.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        room_id: &str,
        socket: u64,
        user: Arc<str>,
        outbox: Arc<Outbox>,
    ) -> Result<Followed, Fault> {
        let id: Arc<str> = room_id.into();
        let stay = self.next_stay.fetch_add(1, Ordering::Relaxed);
        let member = Member { socket, stay, user, outbox, next: None };
        let (room, is_new) = self.insert(id.clone(), member);
        let followed = Followed { rooms: self.clone(), room: room.clone(), stay };
        if is_new {
            self.ask(chat::subscribe_request::Action::Add(one(&id))).await;
        }
        let mut opened = room.opened.subscribe();
        let confirmed = tokio::time::timeout(OPEN_TIMEOUT, opened.wait_for(|opened| *opened));
        if !matches!(confirmed.await, Ok(Ok(_))) {
            let message = "the room cannot be followed now";
            return Err(Fault {
                retry_after: Some(Duration::from_millis(500)),
                ..Fault::new(Kind::Unavailable, Reason::Unavailable, message)
            });
        }
        Ok(followed)
    }

    fn insert(&self, id: Arc<str>, member: Member) -> (Arc<Room>, bool) {
        let mut is_new = false;
        let room = self.rooms.entry(id.clone()).or_insert_with(|| {
            is_new = true;
            let inner = Mutex::default();
            Arc::new(Room { id, inner, opened: watch::Sender::new(false) })
        });
        let mut inner = room.inner.lock();
        inner.members.retain(|other| other.socket != member.socket);
        inner.members.push(member);
        drop(inner);
        (room.clone(), is_new)
    }

    fn leave(&self, room: &Room, stay: u64) {
        let emptied = self.rooms.remove_if(&room.id, |_, found| {
            let mut inner = found.inner.lock();
            inner.members.retain(|member| member.stay != stay);
            inner.members.is_empty()
        });
        if emptied.is_some() {
            let action = chat::subscribe_request::Action::Remove(one(&room.id));
            // A full queue leaves the room followed until the next stream.
            let _ = self.requests.try_send(chat::SubscribeRequest { action: Some(action) });
        }
    }

    async fn ask(&self, action: chat::subscribe_request::Action) {
        // The link is gone only when the gateway stops.
        let _ = self.requests.send(chat::SubscribeRequest { action: Some(action) }).await;
    }
}

fn one(id: &str) -> chat::RoomIds {
    chat::RoomIds { room_ids: vec![id.to_owned()] }
}

/// A socket's stay in a room; ends with its drop.
pub(crate) struct Followed {
    rooms: Arc<Rooms>,
    room: Arc<Room>,
    stay: u64,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.rooms.leave(&self.room, self.stay);
    }
}

impl Followed {
    /// The room's id, shared.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.room.id
    }

    /// Becomes live at the head, whatever it is; returns it.
    pub(crate) fn live_at_head(&self) -> Position {
        let mut inner = self.room.inner.lock();
        let next = inner.head.seq + 1;
        self.set_next(&mut inner, Some(next));
        inner.head.clone()
    }

    /// Becomes live after `seq` if nothing later was handed out already;
    /// false: read on.
    pub(crate) fn live_after(&self, seq: u64) -> bool {
        let mut inner = self.room.inner.lock();
        let caught_up = inner.head.seq <= seq;
        if caught_up {
            self.set_next(&mut inner, Some(seq + 1));
        }
        caught_up
    }

    fn set_next(&self, inner: &mut Inner, next: Option<u64>) {
        let own = |member: &&mut Member| member.stay == self.stay;
        if let Some(member) = inner.members.iter_mut().find(own) {
            member.next = next;
        }
    }
}

impl Room {
    /// Hands out events. A socket that needs an earlier one than it is handed
    /// reads the log instead.
    fn events(&self, events: Vec<chat::Event>) {
        let mut departed = Vec::new();
        let mut inner = self.inner.lock();
        for event in events {
            let position = Position { seq: event.seq, id: event.id.clone() };
            departed.extend(leaver(&event));
            let Some(shared) = translate::event(&self.id, event) else { continue };
            inner.hand_out(&self.id, position, &shared);
        }
        // Only now: who leaves a pair room also sees it close.
        inner.members.retain(|member| !departed.iter().any(|user| **user == *member.user));
    }

    /// The log is at `head`, and events up to it may not have been handed out.
    fn opened(&self, head: Position) {
        let mut inner = self.inner.lock();
        for member in &mut inner.members {
            if member.next.is_some_and(|next| next <= head.seq) {
                member.interrupt(&self.id);
            }
        }
        if head.seq > inner.head.seq {
            inner.head = head;
        }
        drop(inner);
        self.opened.send_replace(true);
    }

    /// Something may have been missed, nobody knows what.
    fn gap(&self) {
        let mut inner = self.inner.lock();
        inner.members.iter_mut().for_each(|member| member.interrupt(&self.id));
    }

    fn signal(&self, signal: chat::Signal) {
        let Some((sender, event)) = translate::signal(&self.id, signal) else { return };
        for member in &self.inner.lock().members {
            // Whoever types or reads knows it on that device already; other
            // devices of theirs follow read cursors, not typing.
            let own = *member.user == *sender;
            if member.next.is_some() && !(own && event.is_typing) {
                member.outbox.push(Entry::Event(event.event.clone()));
            }
        }
    }

    fn vanish(&self) {
        let members = std::mem::take(&mut self.inner.lock().members);
        let gap = translate::gap(&self.id);
        for member in members {
            member.outbox.push(Entry::Event(gap.clone()));
        }
        self.opened.send_replace(true);
    }
}

impl Inner {
    fn hand_out(&mut self, room: &Arc<str>, position: Position, event: &Arc<Event>) {
        for member in &mut self.members {
            match member.next {
                Some(next) if next == position.seq => {
                    member.next = Some(next + 1);
                    member.outbox.push(Entry::Event(event.clone()));
                }
                Some(next) if next < position.seq => member.interrupt(room),
                _ => {}
            }
        }
        if position.seq > self.head.seq {
            self.head = position;
        }
    }
}

impl Member {
    /// Tells a live socket to read on in the log.
    fn interrupt(&mut self, room: &Arc<str>) {
        if self.next.take().is_some() {
            self.outbox.push(Entry::CatchUp(room.clone()));
        }
    }
}

/// The user that `event` takes out of the room.
fn leaver(event: &chat::Event) -> Option<String> {
    match &event.kind {
        Some(chat::event::Kind::Member(member)) if !member.joined => Some(member.user_id.clone()),
        _ => None,
    }
}

#[async_trait]
impl Follow for Rooms {
    type Request = chat::SubscribeRequest;
    type Response = chat::SubscribeResponse;

    async fn open(
        &self,
        feed: Feed<chat::SubscribeRequest>,
    ) -> Result<Streaming<chat::SubscribeResponse>, Status> {
        Ok(self.client.clone().subscribe(feed).await?.into_inner())
    }

    fn everything(&self) -> Vec<chat::SubscribeRequest> {
        let ids: Vec<_> = self.rooms.iter().map(|room| room.key().to_string()).collect();
        let request = |ids: &[String]| chat::SubscribeRequest {
            action: Some(chat::subscribe_request::Action::Add(chat::RoomIds {
                room_ids: ids.to_vec(),
            })),
        };
        ids.chunks(CHUNK).map(request).collect()
    }

    async fn take(&self, response: chat::SubscribeResponse) {
        let Some(room) = self.rooms.get(response.room_id.as_str()).map(|room| room.clone()) else {
            return;
        };
        match response.event {
            Some(chat::subscribe_response::Event::Opened(opened)) => {
                let head = opened.head.unwrap_or_default();
                room.opened(Position { seq: head.seq, id: head.id });
            }
            Some(chat::subscribe_response::Event::Events(events)) => room.events(events.events),
            Some(chat::subscribe_response::Event::Signal(signal)) => room.signal(signal),
            Some(chat::subscribe_response::Event::Gap(_)) => room.gap(),
            Some(chat::subscribe_response::Event::NotFound(_)) => room.vanish(),
            None => {}
        }
    }

    fn name(&self) -> &'static str {
        "chat"
    }
}
