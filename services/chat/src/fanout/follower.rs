//! One room as this process follows it.

use std::sync::Arc;

use mingle_proto::{
    Timestamp,
    chat::v1::{
        Event, Events, NotFound, Opened, Position, SubscribeResponse,
        subscribe_response::Event as Told,
    },
};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{outbox::Outbox, sequencer::Sequencer};

/// Tells sessions of one process apart.
pub(super) type SessionId = u64;

/// Whether the store must be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing is missing.
    Nothing,
    /// Something is missing that may be on its way.
    Patience,
    /// Something may be missing: the head tells.
    Comparison,
    /// Something is missing.
    Repair,
}

struct State {
    /// `None` until the head was read.
    sequencer: Option<Sequencer>,
    streams: Vec<(SessionId, Arc<Outbox>)>,
    repair: bool,
    doubt: bool,
}

/// A followed room. Its task is in [`super::hub`].
pub(super) struct Follower {
    pub(super) room_id: String,
    pub(super) stop: CancellationToken,
    /// Tells the task to look at [`Follower::need`].
    pub(super) wake: Notify,
    state: Mutex<State>,
}

impl Follower {
    pub(super) fn new(room_id: &str, stop: CancellationToken) -> Self {
        let state = State { sequencer: None, streams: Vec::new(), repair: false, doubt: false };
        Self { room_id: room_id.to_owned(), stop, wake: Notify::new(), state: Mutex::new(state) }
    }

    /// Adds a stream; it is told `opened` now or when the head is known. A
    /// stream that is there already is told again.
    pub(super) fn attach(&self, id: SessionId, outbox: &Arc<Outbox>) {
        let mut state = self.state.lock();
        if let Some(sequencer) = &state.sequencer {
            outbox.answer(self.opened_at(sequencer.last()));
        }
        if state.streams.iter().all(|(other, _)| *other != id) {
            state.streams.push((id, outbox.clone()));
        }
    }

    /// True when the stream is told of this room.
    pub(super) fn tells(&self, id: SessionId) -> bool {
        self.state.lock().streams.iter().any(|(other, _)| *other == id)
    }

    /// Takes a stream away; true when it was the last.
    pub(super) fn detach(&self, id: SessionId) -> bool {
        let mut state = self.state.lock();
        state.streams.retain(|(other, _)| *other != id);
        state.streams.is_empty()
    }

    /// The head was read after the bus was listened to: from here on nothing
    /// is missed without a trace.
    pub(super) fn open(&self, head: Position) {
        let mut state = self.state.lock();
        let opened = self.opened_at(&head);
        state.streams.iter().for_each(|(_, outbox)| outbox.answer(opened.clone()));
        state.sequencer = Some(Sequencer::new(head));
    }

    fn opened_at(&self, head: &Position) -> SubscribeResponse {
        self.response(Told::Opened(Opened { head: Some(head.clone()) }))
    }

    fn response(&self, event: Told) -> SubscribeResponse {
        let room_id = self.room_id.clone();
        SubscribeResponse { room_id, event: Some(event), ..Default::default() }
    }

    /// Tells every stream that there is no such room.
    pub(super) fn not_found(&self) {
        let answer = self.response(Told::NotFound(NotFound {}));
        let state = self.state.lock();
        state.streams.iter().for_each(|(_, outbox)| outbox.answer(answer.clone()));
    }

    /// Takes what was announced, here or by another process.
    pub(super) fn take(&self, response: SubscribeResponse) {
        let (told, at) = (response.traceparent, response.published_at);
        match response.event {
            Some(Told::Events(events)) => self.pass(events.events, told, at),
            Some(signal @ Told::Signal(_)) => {
                let mut response = self.response(signal);
                (response.traceparent, response.published_at) = (told, at);
                let size = response.encoded_len();
                let state = self.state.lock();
                if state.sequencer.is_some() {
                    state.streams.iter().for_each(|(_, outbox)| outbox.mention(&response, size));
                }
            }
            _ => {}
        }
    }

    /// Passes on what is due of `events`.
    pub(super) fn pass(&self, events: Vec<Event>, traceparent: String, at: Option<Timestamp>) {
        let mut state = self.state.lock();
        let Some(sequencer) = &mut state.sequencer else {
            // The head that is being read may be from before this.
            state.repair = true;
            return;
        };
        let events = sequencer.offer(events);
        let waiting = sequencer.is_waiting();
        if !events.is_empty() {
            let mut response = self.response(Told::Events(Events { events }));
            (response.traceparent, response.published_at) = (traceparent, at);
            let size = response.encoded_len();
            state.streams.iter().for_each(|(_, outbox)| outbox.offer(&response, size));
        }
        if waiting {
            self.wake.notify_one();
        }
    }

    /// The last event passed on; `None` before the room is open.
    pub(super) fn last(&self) -> Option<Position> {
        self.state.lock().sequencer.as_ref().map(|sequencer| sequencer.last().clone())
    }

    /// Asks for a read of the store.
    pub(super) fn ask_repair(&self) {
        self.state.lock().repair = true;
        self.wake.notify_one();
    }

    /// Asks for a comparison with the head.
    pub(super) fn doubt(&self) {
        self.state.lock().doubt = true;
        self.wake.notify_one();
    }

    /// The head is about to be read: what is doubted from now on needs another.
    pub(super) fn begin_comparison(&self) {
        self.state.lock().doubt = false;
    }

    /// What the task has to do.
    pub(super) fn need(&self) -> Need {
        let state = self.state.lock();
        match &state.sequencer {
            Some(_) if state.repair => Need::Repair,
            Some(_) if state.doubt => Need::Comparison,
            Some(sequencer) if sequencer.is_waiting() => Need::Patience,
            _ => Need::Nothing,
        }
    }

    /// A read of the store to its end begins: what is asked from now on needs
    /// another.
    pub(super) fn begin_repair(&self) {
        let mut state = self.state.lock();
        state.repair = false;
        state.doubt = false;
        if let Some(sequencer) = &mut state.sequencer {
            sequencer.forget_dropped();
        }
    }

    /// The store no longer has what was passed on last: it was put back to an
    /// older state. Every stream is told of the gap, and the room goes on at
    /// its head.
    pub(super) fn start_over(&self, head: Position) {
        let mut state = self.state.lock();
        state.sequencer = Some(Sequencer::new(head));
        state.streams.iter().for_each(|(_, outbox)| outbox.gap(&self.room_id));
    }

    /// Retention took what is before `next`: every stream is told of the gap.
    pub(super) fn skip_to(&self, next: u64) {
        let mut state = self.state.lock();
        match &mut state.sequencer {
            // Others may have passed on more since the read.
            Some(sequencer) if sequencer.last().seq + 1 < next => {
                sequencer.jump(Position { seq: next - 1, id: String::new() });
            }
            _ => return,
        }
        state.streams.iter().for_each(|(_, outbox)| outbox.gap(&self.room_id));
    }
}
