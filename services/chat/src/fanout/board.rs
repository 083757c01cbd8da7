//! Where what was committed is put up: followers of this process read it at
//! once, those of others over the bus.

use std::sync::Arc;

use dashmap::DashMap;
use mingle_proto::chat::v1::{
    Events, Signal, SubscribeResponse, subscribe_response::Event as Told,
};
use mingle_store::{
    bus::{Announcement, Bus},
    clock::Clock,
};
use tokio::sync::mpsc;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::{
    envelope::{encode, topic},
    follower::Follower,
};
use crate::{domain::Event, store::Announce, wire};

/// Announcements that wait for the bus; beyond, they are dropped there, and
/// other processes find the events when they compare heads.
const QUEUE: usize = 4096;
/// Announcements that go to the bus at once.
const BATCH: usize = 256;

/// What waits for the bus, and keeps the process's drain waiting for it.
type Waiting = (Announcement, TaskTrackerToken);

/// The followed rooms of one process, and the way to the others.
#[derive(Clone)]
pub struct Board {
    pub(super) rooms: Arc<DashMap<String, Arc<Follower>>>,
    pub(super) bus: Arc<dyn Bus>,
    /// Unlike any other process's.
    pub(super) origin: u64,
    clock: Arc<dyn Clock>,
    queue: mpsc::Sender<Waiting>,
    tasks: TaskTracker,
}

impl Board {
    /// An empty board. What is put up on it is announced for as long as one
    /// of its clones is left, also in the drain; each announcement that still
    /// waits counts as one of `tasks`.
    pub fn start(bus: Arc<dyn Bus>, clock: Arc<dyn Clock>, tasks: &TaskTracker) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(publish(bus.clone(), waiting));
        let tasks = tasks.clone();
        // Random bits of a fresh UUID: as good as unique among processes.
        let origin = uuid::Uuid::new_v4().as_u64_pair().1;
        Self { rooms: Arc::default(), bus, origin, clock, queue, tasks }
    }

    /// Announces a signal.
    pub fn signal(&self, room_id: &str, signal: Signal, traceparent: &str) {
        self.put_up(room_id, Told::Signal(signal), traceparent);
    }

    fn put_up(&self, room_id: &str, event: Told, traceparent: &str) {
        let response = SubscribeResponse {
            room_id: room_id.to_owned(),
            event: Some(event),
            traceparent: traceparent.to_owned(),
            published_at: Some(wire::timestamp(self.clock.now_ms())),
        };
        let announcement = Announcement::new(topic(room_id), encode(self.origin, &response));
        if self.queue.try_send((announcement, self.tasks.token())).is_err() {
            metrics::counter!("mingle_chat_announcements_dropped_total").increment(1);
        }
        let follower = self.rooms.get(room_id).map(|follower| follower.clone());
        if let Some(follower) = follower {
            follower.take(response);
        }
    }
}

impl Announce for Board {
    fn announce(&self, events: &[Event], traceparent: &str) {
        let Some(first) = events.first() else { return };
        let told = Events { events: events.iter().map(wire::event).collect() };
        self.put_up(&first.room_id, Told::Events(told), traceparent);
    }
}

/// Takes announcements to the bus, those that gathered meanwhile at once. A bus
/// that is away costs other processes time, not events.
async fn publish(bus: Arc<dyn Bus>, mut queue: mpsc::Receiver<Waiting>) {
    let mut gathered = Vec::new();
    while queue.recv_many(&mut gathered, BATCH).await > 0 {
        let (batch, waiting): (Vec<_>, Vec<_>) = gathered.drain(..).unzip();
        if let Err(error) = bus.publish(&batch).await {
            tracing::debug!(%error, announcements = batch.len(), "not published");
            let failed = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            metrics::counter!("mingle_chat_publish_failures_total").increment(failed);
        }
        drop(waiting);
    }
}
