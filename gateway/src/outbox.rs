//! What waits for one socket.
//!
//! Hubs push, the socket's own task drains. Live events count against a bound
//! of bytes; at the bound the socket is told to close as slow, and resumes
//! later from the log. Replayed pages do not count: their job waits for the
//! queue to drain before it reads the next one.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use mingle_client::close::Close;
use mingle_proto::gateway::v1 as pb;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;

/// The subprotocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `mingle.v1.json`
    Json,
    /// `mingle.v1.proto`
    Proto,
}

/// A place in a room's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Sequence number; 0 is before the first event.
    pub seq: u64,
    /// The id of the event at `seq`.
    pub id: String,
}

/// An event for many sockets, serialised at most once per encoding.
#[derive(Debug)]
pub(crate) struct Event {
    /// The room it belongs to, if any.
    pub room: Option<Arc<str>>,
    /// Its place in the room's log, if it has one.
    pub position: Option<Position>,
    frame: pb::ServerFrame,
    json: OnceLock<Utf8Bytes>,
    proto: OnceLock<Bytes>,
}

impl Event {
    /// An event of no room.
    pub(crate) fn new(kind: pb::server_frame::Kind) -> Arc<Self> {
        Arc::new(Self::build(None, None, kind))
    }

    /// An event of a room, in its log or not.
    pub(crate) fn of_room(
        room: Arc<str>,
        position: Option<Position>,
        kind: pb::server_frame::Kind,
    ) -> Arc<Self> {
        Arc::new(Self::build(Some(room), position, kind))
    }

    fn build(
        room: Option<Arc<str>>,
        position: Option<Position>,
        kind: pb::server_frame::Kind,
    ) -> Self {
        let frame = pb::ServerFrame { id: None, kind: Some(kind) };
        Self { room, position, frame, json: OnceLock::new(), proto: OnceLock::new() }
    }

    /// True when the event ends `user`'s stay in its room.
    pub(crate) fn ends_stay_of(&self, user: &str) -> bool {
        match &self.frame.kind {
            Some(pb::server_frame::Kind::RoomClosed(_)) => true,
            Some(pb::server_frame::Kind::Member(member)) => {
                !member.joined && member.user_id == user
            }
            _ => false,
        }
    }

    /// The event as one WebSocket message.
    pub(crate) fn message(&self, encoding: Encoding) -> Message {
        match encoding {
            Encoding::Json => Message::Text(self.json().clone()),
            Encoding::Proto => Message::Binary(self.proto().clone()),
        }
    }

    fn len(&self, encoding: Encoding) -> usize {
        match encoding {
            Encoding::Json => self.json().len(),
            Encoding::Proto => self.proto().len(),
        }
    }

    fn json(&self) -> &Utf8Bytes {
        self.json.get_or_init(|| json(&self.frame).into())
    }

    fn proto(&self) -> &Bytes {
        self.proto.get_or_init(|| self.frame.encode_to_vec().into())
    }
}

/// A frame as canonical JSON.
pub(crate) fn json(frame: &pb::ServerFrame) -> String {
    // Our frames hold no value that JSON cannot show; were one found, the
    // client would ignore the empty event.
    serde_json::to_string(frame).unwrap_or_else(|_| "{}".to_owned())
}

/// One thing that waits.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// To be written.
    Event(Arc<Event>),
    /// To be written, and when it was, the ticket's owner is told.
    Matched(Arc<Event>, Arc<str>),
    /// The room's live events were interrupted: read on from the last
    /// position written.
    CatchUp(Arc<str>),
    /// A ticket ended without a match.
    Over(Arc<str>),
}

impl Entry {
    fn event(&self) -> Option<&Arc<Event>> {
        match self {
            Self::Event(event) | Self::Matched(event, _) => Some(event),
            Self::CatchUp(_) | Self::Over(_) => None,
        }
    }

    fn room(&self) -> Option<&Arc<str>> {
        match self {
            Self::CatchUp(room) => Some(room),
            _ => self.event().and_then(|event| event.room.as_ref()),
        }
    }
}

/// Why and how the socket is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    /// The code.
    pub close: Close,
    /// Written first, for a draining server; 0: nothing is.
    pub retry_after_ms: u32,
}

struct Waiting {
    entry: Entry,
    /// Bytes that count against the bound.
    counted: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waiting>,
    counted: usize,
    closing: Option<Closing>,
}

/// The queue of one socket.
pub(crate) struct Outbox {
    encoding: Encoding,
    bound: usize,
    state: Mutex<State>,
    changed: Notify,
    closed: Notify,
    drained: Notify,
}

impl Outbox {
    /// An empty queue that holds at most `bound` bytes of live events.
    pub(crate) fn new(encoding: Encoding, bound: usize) -> Self {
        Self {
            encoding,
            bound,
            state: Mutex::default(),
            changed: Notify::new(),
            closed: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// The encoding of the socket.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Adds a live entry; beyond the bound the socket is told to close and
    /// what waited is dropped: the log has it.
    pub(crate) fn push(&self, entry: Entry) {
        let counted = entry.event().map_or(0, |event| event.len(self.encoding));
        let mut state = self.state.lock();
        if state.closing.is_some() {
            return;
        }
        if state.counted + counted > self.bound {
            state.closing = Some(Closing { close: Close::Slow, retry_after_ms: 0 });
            state.queue = VecDeque::new();
            metrics::counter!("mingle_gateway_slow_sockets_total").increment(1);
            self.closed.notify_waiters();
        } else {
            state.counted += counted;
            state.queue.push_back(Waiting { entry, counted });
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Adds a page of replayed events.
    pub(crate) fn push_replay(&self, events: impl Iterator<Item = Arc<Event>>) {
        let mut state = self.state.lock();
        let entries = events.map(|event| Waiting { entry: Entry::Event(event), counted: 0 });
        state.queue.extend(entries);
        drop(state);
        self.changed.notify_one();
    }

    /// Tells the socket to close; the first reason stays.
    pub(crate) fn close(&self, closing: Closing) {
        self.state.lock().closing.get_or_insert(closing);
        self.closed.notify_waiters();
        self.changed.notify_one();
    }

    /// The socket is gone: what waited is dropped, and no more is taken.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.closing.get_or_insert(Closing { close: Close::Idle, retry_after_ms: 0 });
        state.queue = VecDeque::new();
    }

    /// Waits until the socket is to close. Leaves the notice of
    /// [`Outbox::changed`] to whoever takes entries.
    pub(crate) async fn closed(&self) -> Closing {
        loop {
            let closed = self.closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            if let Some(closing) = self.closing() {
                return closing;
            }
            closed.await;
        }
    }

    /// Why the socket is to close, once it is.
    pub(crate) fn closing(&self) -> Option<Closing> {
        self.state.lock().closing
    }

    /// Waits until there may be something to take. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes entries of about `bytes` in order, leaving those of the room
    /// `held`. An empty answer: there is nothing to take now.
    pub(crate) fn take(&self, bytes: usize, held: Option<&str>) -> Vec<Entry> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        let (mut size, mut at) = (0, 0);
        while size < bytes && at < state.queue.len() {
            let is_held = held.is_some() && state.queue[at].entry.room().map(|r| &**r) == held;
            if is_held {
                at += 1;
                continue;
            }
            let Some(waiting) = state.queue.remove(at) else { break };
            state.counted -= waiting.counted;
            size += waiting.entry.event().map_or(0, |event| event.len(self.encoding));
            taken.push(waiting.entry);
        }
        if state.queue.is_empty() {
            // An idle socket keeps no buffer.
            state.queue = VecDeque::new();
            self.drained.notify_waiters();
        }
        taken
    }

    /// Forgets what waits for `room`.
    pub(crate) fn forget(&self, room: &str) {
        let mut state = self.state.lock();
        let mut freed = 0;
        state.queue.retain(|waiting| {
            let stays = waiting.entry.room().is_none_or(|of| &**of != room);
            freed += if stays { 0 } else { waiting.counted };
            stays
        });
        state.counted -= freed;
    }

    /// Waits until everything that waits was taken.
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.state.lock().queue.is_empty() {
                return;
            }
            drained.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mingle_client::close::Close;
    use mingle_proto::gateway::v1::{self as pb, server_frame::Kind};

    use super::{Closing, Encoding, Entry, Event, Outbox};

    fn event(room: &str, user_id: &str) -> Entry {
        let room: Arc<str> = room.into();
        let kind = pb::TypingEvent { room_id: room.to_string(), user_id: user_id.to_owned() };
        Entry::Event(Event::of_room(room, None, Kind::Typing(kind)))
    }

    fn users(entries: Vec<Entry>) -> Vec<String> {
        let user = |entry: &Entry| match &entry.event().unwrap().frame.kind {
            Some(Kind::Typing(typing)) => typing.user_id.clone(),
            _ => String::new(),
        };
        entries.iter().map(user).collect()
    }

    #[test]
    fn entries_come_in_order_and_a_held_room_waits() {
        let outbox = Outbox::new(Encoding::Json, 1 << 20);
        for (room, user) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")] {
            outbox.push(event(room, user));
        }
        assert_eq!(users(outbox.take(usize::MAX, Some("a"))), ["2", "4"]);
        assert_eq!(users(outbox.take(usize::MAX, None)), ["1", "3"]);
    }

    #[test]
    fn beyond_its_bound_the_socket_closes_and_holds_nothing() {
        let outbox = Outbox::new(Encoding::Proto, 1000);
        for _ in 0..1000 {
            outbox.push(event("a", "user"));
        }
        assert_eq!(outbox.closing().map(|closing| closing.close), Some(Close::Slow));
        assert!(outbox.take(usize::MAX, None).is_empty());
    }

    #[test]
    fn nothing_is_kept_for_a_socket_that_is_gone() {
        let outbox = Outbox::new(Encoding::Proto, 1000);
        outbox.push(event("a", "1"));
        outbox.end();
        outbox.push(event("a", "2"));
        assert!(outbox.take(usize::MAX, None).is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_for_the_end_takes_no_notice_of_entries() {
        let outbox = Outbox::new(Encoding::Json, 1000);
        let mut closed = std::pin::pin!(outbox.closed());
        assert!(futures::poll!(&mut closed).is_pending());
        outbox.push(event("a", "1"));
        assert!(futures::poll!(&mut closed).is_pending());
        outbox.changed().await;
        outbox.close(Closing { close: Close::Idle, retry_after_ms: 0 });
        assert_eq!(closed.await.close, Close::Idle);
    }

    #[tokio::test]
    async fn replay_does_not_count_and_waits_for_the_queue() {
        let outbox = Outbox::new(Encoding::Json, 1000);
        let page = (0..1000).map(|_| {
            Event::of_room("a".into(), None, Kind::Gap(pb::Gap { room_id: "a".to_owned() }))
        });
        outbox.push_replay(page);
        assert_eq!(outbox.closing(), None);
        let mut waiting = std::pin::pin!(outbox.drained());
        assert!(futures::poll!(&mut waiting).is_pending());
        assert_eq!(outbox.take(usize::MAX, None).len(), 1000);
        waiting.await;
    }
}
