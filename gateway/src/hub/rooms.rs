//! The rooms that sockets of this process follow: one subscription per room
//! and process, one copy of each event, delivered without a hole.
//!
//! A socket's *stay* in a room has a place, the seq it needs next. It is
//! *live* while the hub hands it events as they come, and *reading* while a
//! replay job reads the log for it; the job ends by becoming live in the same
//! lock under which events are handed out, so nothing falls between the two.
//! Whether a user still belongs to the room is not decided here: a stay ends
//! where its socket is told that it does.

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
    chat::v1::{
        self as chat, chat_service_client::ChatServiceClient, subscribe_request::Action,
        subscribe_response,
    },
    errors::v1::Reason,
};
use mingle_runtime::{grpc::Transport, status::Kind, telemetry};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};
use tracing::Span;

use super::{
    lag,
    link::{Feed, Follow},
};
use crate::{
    Now,
    fault::Fault,
    outbox::{Entry, Event, Outbox, Position},
    translate,
};

/// How long a room's first subscriber waits for the service to confirm.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Rooms named in one request when a stream opens.
const CHUNK: usize = 500;
/// Rooms that one process follows, below what one stream of chat takes.
const MAX_ROOMS: usize = 90_000;

/// One socket in one room.
struct Stay {
    id: u64,
    user: Arc<str>,
    outbox: Arc<Outbox>,
    /// The seq it is handed next; `None` while it reads.
    next: Option<u64>,
}

/// One room.
struct Room {
    id: Arc<str>,
    inner: Mutex<Inner>,
    opened: watch::Sender<Opened>,
}

/// What the service said of the room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    NotYet,
    Followed,
    Missing,
}

#[derive(Default)]
struct Inner {
    head: Position,
    stays: Vec<Stay>,
}

/// The rooms of this process.
pub(crate) struct Rooms {
    rooms: DashMap<Arc<str>, Arc<Room>>,
    wishes: mpsc::Sender<Arc<str>>,
    client: ChatServiceClient<Transport>,
    next_stay: AtomicU64,
    now: Now,
}

impl Rooms {
    /// Follows through `chat`; `wishes` feeds the link.
    pub(crate) fn new(chat: Transport, wishes: mpsc::Sender<Arc<str>>, now: Now) -> Self {
        let client = ChatServiceClient::new(chat);
        Self { rooms: DashMap::new(), wishes, client, next_stay: AtomicU64::new(0), now }
    }

    /// How many are followed.
    pub(crate) fn count(&self) -> usize {
        self.rooms.len()
    }

    /// Enters a socket into a room, reading; it leaves with the answer's
    /// drop. Returns once events are followed, so that a log read afterwards
    /// meets them. An earlier stay of the socket goes on until it is dropped.
    ///
    /// **Errors**: UNAVAILABLE when chat does not confirm in time, NOT_FOUND
    /// when it knows no such room, RESOURCE_EXHAUSTED when this process
    /// follows as many rooms as it may.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        room_id: &str,
        user: Arc<str>,
        outbox: Arc<Outbox>,
    ) -> Result<Followed, Fault> {
        let id: Arc<str> = room_id.into();
        if self.rooms.len() >= MAX_ROOMS && !self.rooms.contains_key(&id) {
            let message = "this gateway follows as many rooms as it may";
            return Err(Fault::new(Kind::Exhausted, Reason::Overloaded, message).retry());
        }
        let stay = self.next_stay.fetch_add(1, Ordering::Relaxed);
        let room = self.insert(id.clone(), Stay { id: stay, user, outbox, next: None });
        let followed = Followed { rooms: self.clone(), room: room.clone(), stay };
        let mut opened = room.opened.subscribe();
        if *opened.borrow() == Opened::NotYet {
            // The link is gone only when the gateway stops.
            let _ = self.wishes.send(id).await;
        }
        let known = tokio::time::timeout(OPEN_TIMEOUT, opened.wait_for(|it| *it != Opened::NotYet));
        match known.await.map(|known| known.map(|known| *known)) {
            Ok(Ok(Opened::Followed)) => Ok(followed),
            Ok(Ok(_)) => {
                let message = "there is no such room";
                Err(Fault::new(Kind::NotFound, Reason::RoomNotFound, message).at("roomId"))
            }
            _ => {
                let message = "the room cannot be followed now";
                Err(Fault::new(Kind::Unavailable, Reason::Unavailable, message).retry())
            }
        }
    }

    fn insert(&self, id: Arc<str>, stay: Stay) -> Arc<Room> {
        let room = self.rooms.entry(id.clone()).or_insert_with(|| {
            let inner = Mutex::default();
            Arc::new(Room { id, inner, opened: watch::Sender::new(Opened::NotYet) })
        });
        room.inner.lock().stays.push(stay);
        room.clone()
    }

    fn leave(&self, room: &Room, stay: u64) {
        let emptied = self.rooms.remove_if(&room.id, |_, found| {
            let mut inner = found.inner.lock();
            inner.stays.retain(|other| other.id != stay);
            inner.stays.is_empty()
        });
        if let Some((id, _)) = emptied {
            // A full queue leaves the room followed until the next stream.
            let _ = self.wishes.try_send(id);
        }
    }
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
        let head = inner.head.clone();
        self.set_next(&mut inner, head.seq + 1);
        head
    }

    /// Becomes live after `seq` if nothing later was handed out already;
    /// false: read on.
    pub(crate) fn live_after(&self, seq: u64) -> bool {
        let mut inner = self.room.inner.lock();
        let caught_up = inner.head.seq <= seq;
        if caught_up {
            self.set_next(&mut inner, seq + 1);
        }
        caught_up
    }

    fn set_next(&self, inner: &mut Inner, next: u64) {
        if let Some(stay) = inner.stays.iter_mut().find(|stay| stay.id == self.stay) {
            stay.next = Some(next);
        }
    }
}

impl Room {
    /// Hands out events. A stay that needs an earlier one than it is handed
    /// reads the log instead.
    fn events(&self, events: Vec<chat::Event>) {
        let mut inner = self.inner.lock();
        for event in events {
            let position = Position { seq: event.seq, id: event.id.clone() };
            let Some(shared) = translate::event(&self.id, event) else { continue };
            inner.hand_out(&self.id, position, &shared);
        }
    }

    /// The log is at `head`, and events up to it may not have been handed out.
    /// A head that is behind what was handed out was read before that, or the
    /// log was put back: every stay reads, and is told which.
    fn opened(&self, head: Position) {
        let mut inner = self.inner.lock();
        let went_back = head.seq < inner.head.seq;
        for stay in &mut inner.stays {
            if went_back || stay.next.is_some_and(|next| next <= head.seq) {
                stay.interrupt(&self.id);
            }
        }
        inner.head = head;
        drop(inner);
        self.opened.send_replace(Opened::Followed);
    }

    fn signal(&self, signal: chat::Signal) {
        let Some((sender, signal)) = translate::signal(&self.id, signal) else { return };
        for stay in &self.inner.lock().stays {
            // Whoever types knows it; read marks are for their other devices
            // too.
            let own = signal.is_typing && *stay.user == *sender;
            if stay.next.is_some() && !own {
                stay.outbox.push(Entry::Event(signal.event.clone()));
            }
        }
    }
}

impl Inner {
    fn hand_out(&mut self, room: &Arc<str>, position: Position, event: &Arc<Event>) {
        for stay in &mut self.stays {
            match stay.next {
                Some(next) if next == position.seq => {
                    stay.next = Some(next + 1);
                    stay.outbox.push(Entry::Event(event.clone()));
                }
                Some(next) if next < position.seq => stay.interrupt(room),
                _ => {}
            }
        }
        if position.seq > self.head.seq {
            self.head = position;
        }
    }
}

impl Stay {
    /// Tells a live socket to read on in the log.
    fn interrupt(&mut self, room: &Arc<str>) {
        if self.next.take().is_some() {
            self.outbox.push(Entry::CatchUp(room.clone()));
        }
    }
}

/// The span of what a request elsewhere caused to be handed out here.
fn delivery(response: &chat::SubscribeResponse) -> Span {
    if response.traceparent.is_empty() || !telemetry::is_exporting() {
        return Span::none();
    }
    let span =
        tracing::info_span!("chat.deliver", otel.kind = "consumer", room.id = response.room_id,);
    telemetry::continue_from(&span, &response.traceparent);
    span
}

fn add(ids: &[Arc<str>]) -> chat::SubscribeRequest {
    let room_ids = ids.iter().map(ToString::to_string).collect();
    chat::SubscribeRequest { action: Some(Action::Add(chat::RoomIds { room_ids })) }
}

#[async_trait]
impl Follow for Rooms {
    type Wish = Arc<str>;
    type Request = chat::SubscribeRequest;
    type Response = chat::SubscribeResponse;

    async fn open(
        &self,
        feed: Feed<chat::SubscribeRequest>,
    ) -> Result<Streaming<chat::SubscribeResponse>, Status> {
        Ok(self.client.clone().subscribe(feed).await?.into_inner())
    }

    fn everything(&self) -> Vec<chat::SubscribeRequest> {
        let ids: Vec<_> = self.rooms.iter().map(|room| room.key().clone()).collect();
        ids.chunks(CHUNK).map(add).collect()
    }

    fn request(&self, id: Arc<str>) -> chat::SubscribeRequest {
        if self.rooms.contains_key(&id) {
            return add(&[id]);
        }
        let ids = chat::RoomIds { room_ids: vec![id.to_string()] };
        chat::SubscribeRequest { action: Some(Action::Remove(ids)) }
    }

    async fn take(&self, response: chat::SubscribeResponse) -> Option<chat::SubscribeRequest> {
        let room = self.rooms.get(response.room_id.as_str()).map(|room| room.clone())?;
        let span = delivery(&response);
        let _delivering = span.enter();
        match response.event? {
            subscribe_response::Event::Opened(opened) => {
                let head = opened.head.unwrap_or_default();
                room.opened(Position { seq: head.seq, id: head.id });
            }
            subscribe_response::Event::Events(events) => {
                room.events(events.events);
                lag::record(response.published_at, (self.now)());
            }
            subscribe_response::Event::Signal(signal) => room.signal(signal),
            // Asked again, the service says where the head is now; whoever
            // lacks something up to it reads the log.
            subscribe_response::Event::Gap(_) => return Some(add(std::slice::from_ref(&room.id))),
            subscribe_response::Event::NotFound(_) => {
                room.opened.send_replace(Opened::Missing);
            }
        }
        None
    }

    fn name(&self) -> &'static str {
        "chat"
    }
}
