//! Where what was committed is put up: followers of this process read it at
//! once, those of others over the bus.

use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use mingle_proto::chat::v1::{
    Events, Signal, SubscribeResponse, subscribe_response::Event as Told,
};
use mingle_store::{bus::Bus, clock::Clock};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    envelope::{encode, topic},
    follower::Follower,
};
use crate::{domain::Event, store::Announce, wire};

/// Announcements that wait for the bus; beyond, they are dropped there, and
/// other processes find the events when they compare heads.
const QUEUE: usize = 4096;

/// The followed rooms of one process, and the way to the others.
#[derive(Clone)]
pub struct Board {
    pub(super) rooms: Arc<DashMap<String, Arc<Follower>>>,
    pub(super) bus: Arc<dyn Bus>,
    /// Unlike any other process's.
    pub(super) origin: u64,
    clock: Arc<dyn Clock>,
    queue: mpsc::Sender<(String, Bytes)>,
}

impl Board {
    /// An empty board; its way to the bus is one of `tasks` until `stop`.
    pub fn start(
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tasks.spawn(publish(bus.clone(), waiting, stop));
        // Random bits of a fresh UUID: as good as unique among processes.
        let origin = uuid::Uuid::new_v4().as_u64_pair().1;
        Self { rooms: Arc::default(), bus, origin, clock, queue }
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
        if self.queue.try_send((topic(room_id), encode(self.origin, &response))).is_err() {
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

/// Takes announcements to the bus, one after the other, and at the end those
/// that wait still. A bus that is away costs other processes time, not events.
async fn publish(
    bus: Arc<dyn Bus>,
    mut waiting: mpsc::Receiver<(String, Bytes)>,
    stop: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            next = waiting.recv() => next,
            () = stop.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        let Some((topic, payload)) = next else { return };
        if let Err(error) = bus.publish(&topic, payload).await {
            tracing::debug!(%error, "announcement not published");
            metrics::counter!("mingle_chat_publish_failures_total").increment(1);
        }
    }
}
