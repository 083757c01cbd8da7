//! What waits for one Subscribe stream to be read.

use std::{
    collections::{HashSet, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::Stream;
use mingle_proto::chat::v1::{Gap, SubscribeResponse, subscribe_response::Event};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;
use tonic::Status;

/// What may wait at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Messages.
    pub messages: usize,
    /// Bytes, encoded.
    pub bytes: usize,
}

/// A bounded queue that never blocks who fills it. At its bound the events of
/// a room are dropped and one gap takes their place; they flow again once the
/// gap was read. Answers (`opened`, `not_found`, gaps) are always queued: their
/// number is bounded by the rooms of the stream, and [`Outbox::ready`] holds
/// its requests back.
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    bounds: Bounds,
    taken: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<(SubscribeResponse, usize)>,
    bytes: usize,
    /// Rooms whose gap waits in the queue.
    lagging: HashSet<String>,
    end: Option<Option<Status>>,
    waker: Option<Waker>,
}

impl Queue {
    fn is_full(&self, bounds: Bounds) -> bool {
        self.messages.len() >= bounds.messages || self.bytes >= bounds.bytes
    }

    fn push(&mut self, response: SubscribeResponse, size: usize) {
        self.bytes += size;
        self.messages.push_back((response, size));
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Outbox {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { queue: Mutex::default(), bounds, taken: Notify::new() }
    }

    /// Queues an answer to the stream itself. After `opened` the room's events
    /// flow: a gap still queued is read before it.
    pub(super) fn answer(&self, response: SubscribeResponse) {
        let mut queue = self.queue.lock();
        queue.lagging.remove(&response.room_id);
        let size = response.encoded_len();
        queue.push(response, size);
    }

    /// Queues events, `size` bytes encoded, or drops them for a gap.
    pub(super) fn offer(&self, response: &SubscribeResponse, size: usize) {
        let mut queue = self.queue.lock();
        if queue.lagging.contains(&response.room_id) {
            return;
        }
        if queue.is_full(self.bounds) {
            Self::fall_behind(&mut queue, &response.room_id);
        } else {
            queue.push(response.clone(), size);
        }
    }

    /// Queues what may be lost, unless there is no room for it.
    pub(super) fn mention(&self, response: &SubscribeResponse, size: usize) {
        let mut queue = self.queue.lock();
        if !queue.lagging.contains(&response.room_id) && !queue.is_full(self.bounds) {
            queue.push(response.clone(), size);
        }
    }

    /// Tells that events of the room are missing.
    pub(super) fn gap(&self, room_id: &str) {
        let mut queue = self.queue.lock();
        if !queue.lagging.contains(room_id) {
            Self::fall_behind(&mut queue, room_id);
        }
    }

    fn fall_behind(queue: &mut Queue, room_id: &str) {
        metrics::counter!("mingle_chat_stream_gaps_total").increment(1);
        queue.lagging.insert(room_id.to_owned());
        let event = Some(Event::Gap(Gap {}));
        let gap = SubscribeResponse { room_id: room_id.to_owned(), event, ..Default::default() };
        let size = gap.encoded_len();
        queue.push(gap, size);
    }

    /// Waits until there is room, so that a stream that is not read is not
    /// listened to either. Cancel safe.
    pub(super) async fn ready(&self) {
        loop {
            let taken = self.taken.notified();
            if !self.queue.lock().is_full(self.bounds) {
                return;
            }
            taken.await;
        }
    }

    /// Ends the stream after what is queued.
    pub(super) fn end(&self, status: Option<Status>) {
        let mut queue = self.queue.lock();
        queue.end.get_or_insert(status);
        queue.wake();
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Result<SubscribeResponse, Status>>> {
        let mut queue = self.queue.lock();
        if let Some((response, size)) = queue.messages.pop_front() {
            queue.bytes -= size;
            if matches!(response.event, Some(Event::Gap(_))) {
                queue.lagging.remove(&response.room_id);
            }
            drop(queue);
            self.taken.notify_one();
            return Poll::Ready(Some(Ok(response)));
        }
        match &mut queue.end {
            Some(status) => Poll::Ready(status.take().map(Err)),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The reading end of an outbox: the response stream. Dropped, it tells the
/// session that nobody reads any more.
pub struct Outgoing {
    pub(super) outbox: Arc<Outbox>,
    pub(super) _gone: DropGuard,
}

impl Stream for Outgoing {
    type Item = Result<SubscribeResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.outbox.poll_take(cx)
    }
}
