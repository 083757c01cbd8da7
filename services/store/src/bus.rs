//! Topics between the parts of the system: what was committed is announced
//! here, and whoever misses an announcement is told so.
//!
//! **Guarantees**: at most once, in order per publisher and topic, and never
//! silently: a subscriber that lost something receives [`Delivery::Gap`] and
//! reads the truth. Payloads are references or small events; the database
//! stays the truth.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::mpsc;

use crate::Result;

/// Messages that wait for one subscriber before it is told of a gap.
const QUEUE: usize = 1024;

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// What was published.
    Message(Bytes),
    /// Something may have been missed: read the truth.
    Gap,
}

/// Publishes and subscribes.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Announces `payload`. Not delivered to those who subscribe later.
    ///
    /// **Errors**: transient only; the announcement may have gone out.
    async fn publish(&self, topic: &str, payload: Bytes) -> Result<()>;

    /// Follows `topic`. Everything published after this returns is delivered
    /// or announced as a gap.
    async fn subscribe(&self, topic: &str) -> Result<Subscription>;
}

/// The receiving end of a topic. Dropped, it unsubscribes.
pub struct Subscription {
    queue: mpsc::Receiver<Bytes>,
    overflowed: Arc<AtomicBool>,
    _guard: Guard,
}

impl Subscription {
    /// Waits for the next delivery; `None` when the bus is gone.
    ///
    /// A gap comes before what is still queued: whoever then reads the truth
    /// receives the queued rest as duplicates, which positions tell apart.
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<Delivery> {
        if self.overflowed.swap(false, Ordering::AcqRel) {
            return Some(Delivery::Gap);
        }
        self.queue.recv().await.map(Delivery::Message)
    }
}

struct Subscriber {
    id: u64,
    queue: mpsc::Sender<Bytes>,
    overflowed: Arc<AtomicBool>,
}

type Topics = DashMap<String, Vec<Subscriber>>;

/// Removes the subscriber, and its topic with the last one.
struct Guard {
    topics: Weak<Topics>,
    topic: String,
    id: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(topics) = self.topics.upgrade() else {
            return;
        };
        if let dashmap::Entry::Occupied(mut entry) = topics.entry(std::mem::take(&mut self.topic)) {
            entry.get_mut().retain(|subscriber| subscriber.id != self.id);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

/// The bus within one process.
#[derive(Default)]
pub struct Memory {
    topics: Arc<Topics>,
    next_id: std::sync::atomic::AtomicU64,
}

impl Memory {
    /// A bus without topics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Topics with a subscriber now.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }
}

#[async_trait]
impl Bus for Memory {
    async fn publish(&self, topic: &str, payload: Bytes) -> Result<()> {
        let Some(subscribers) = self.topics.get(topic) else {
            return Ok(());
        };
        for subscriber in subscribers.iter() {
            if subscriber.queue.try_send(payload.clone()).is_err() {
                subscriber.overflowed.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let overflowed = Arc::new(AtomicBool::new(false));
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let subscriber = Subscriber { id, queue: sender, overflowed: overflowed.clone() };
        self.topics.entry(topic.to_owned()).or_default().push(subscriber);
        let guard = Guard { topics: Arc::downgrade(&self.topics), topic: topic.to_owned(), id };
        Ok(Subscription { queue, overflowed, _guard: guard })
    }
}
