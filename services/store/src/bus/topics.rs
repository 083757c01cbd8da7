//! Who listens in this process: every bus hands over what it hears here.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::{Notify, mpsc};

use super::Delivery;

/// Messages that wait for one subscriber before it is told of a gap.
const QUEUE: usize = 1024;

/// Set once, told once, however often it was set before.
#[derive(Default)]
struct Missed {
    set: AtomicBool,
    wake: Notify,
}

impl Missed {
    fn set(&self) {
        if !self.set.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    fn take(&self) -> bool {
        self.set.swap(false, Ordering::AcqRel)
    }
}

/// The receiving end of a topic. Dropped, it unsubscribes.
pub struct Subscription {
    queue: mpsc::Receiver<Bytes>,
    missed: Arc<Missed>,
    _guard: Guard,
}

impl Subscription {
    /// Waits for the next delivery; `None` when the bus is gone.
    ///
    /// A gap comes before what is still queued: whoever then reads the truth
    /// receives the queued rest as duplicates, which positions tell apart.
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<Delivery> {
        loop {
            if self.missed.take() {
                return Some(Delivery::Gap);
            }
            tokio::select! {
                biased;
                () = self.missed.wake.notified() => {}
                message = self.queue.recv() => return message.map(Delivery::Message),
            }
        }
    }
}

struct Subscriber {
    id: u64,
    queue: mpsc::Sender<Bytes>,
    missed: Arc<Missed>,
}

type Table = DashMap<String, Vec<Subscriber>>;

/// The first subscriber of a topic came, or its last one left.
pub(super) type Changed = Arc<dyn Fn(&str) + Send + Sync>;

/// The topics of one process and their subscribers.
pub(super) struct Topics {
    table: Arc<Table>,
    next_id: AtomicU64,
    changed: Changed,
}

impl Topics {
    /// A table without topics; `changed` is told of each topic that gets its
    /// first subscriber or loses its last, and must look at
    /// [`Topics::is_wanted`] for what holds by then.
    pub(super) fn new(changed: Changed) -> Self {
        Self { table: Arc::default(), next_id: AtomicU64::new(0), changed }
    }

    pub(super) fn subscribe(&self, topic: &str) -> Subscription {
        let (sender, queue) = mpsc::channel(QUEUE);
        let missed = Arc::new(Missed::default());
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let subscriber = Subscriber { id, queue: sender, missed: missed.clone() };
        let first = {
            let mut subscribers = self.table.entry(topic.to_owned()).or_default();
            subscribers.push(subscriber);
            subscribers.len() == 1
        };
        if first {
            (self.changed)(topic);
        }
        let (table, changed) = (Arc::downgrade(&self.table), self.changed.clone());
        let guard = Guard { table, topic: topic.to_owned(), id, changed };
        Subscription { queue, missed, _guard: guard }
    }

    /// Never waits: a subscriber whose queue is full is told of a gap.
    pub(super) fn deliver(&self, topic: &str, payload: &Bytes) {
        let Some(subscribers) = self.table.get(topic) else { return };
        for subscriber in subscribers.iter() {
            if subscriber.queue.try_send(payload.clone()).is_err() {
                subscriber.missed.set();
            }
        }
    }

    /// Whoever follows `topic` may have missed something.
    pub(super) fn gap(&self, topic: &str) {
        if let Some(subscribers) = self.table.get(topic) {
            subscribers.iter().for_each(|subscriber| subscriber.missed.set());
        }
    }

    /// Everyone may have missed something.
    pub(super) fn gap_everywhere(&self) {
        for subscribers in self.table.iter() {
            subscribers.iter().for_each(|subscriber| subscriber.missed.set());
        }
    }

    pub(super) fn is_wanted(&self, topic: &str) -> bool {
        self.table.contains_key(topic)
    }

    /// Topics with a subscriber now.
    pub(super) fn wanted(&self) -> Vec<String> {
        self.table.iter().map(|entry| entry.key().clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

/// Removes the subscriber, and its topic with the last one.
struct Guard {
    table: Weak<Table>,
    topic: String,
    id: u64,
    changed: Changed,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else {
            return;
        };
        let topic = std::mem::take(&mut self.topic);
        let last = match table.entry(topic.clone()) {
            dashmap::Entry::Occupied(mut entry) => {
                entry.get_mut().retain(|subscriber| subscriber.id != self.id);
                let last = entry.get().is_empty();
                if last {
                    entry.remove();
                }
                last
            }
            dashmap::Entry::Vacant(_) => false,
        };
        // Outside the table's lock: whoever is told looks at the table.
        if last {
            (self.changed)(&topic);
        }
    }
}
