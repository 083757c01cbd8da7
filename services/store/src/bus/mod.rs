//! Topics between the parts of the system: what was committed is announced
//! here, and whoever misses an announcement is told so.
//!
//! **Guarantees**: at most once per source, in order per publisher and topic,
//! and never silently: a subscriber that lost something receives
//! [`Delivery::Gap`] and reads the truth. Payloads are references or small
//! events; the database stays the truth. Whoever listens to two sources
//! may receive an announcement twice, and in another order than
//! its neighbour's: receivers tell by the positions in it.
//!
//! - [`Memory`]: within one process.
//! - [`Merged`]: between processes, over Redis, PostgreSQL or both.

mod beat;
mod ear;
mod memory;
mod merged;
mod peers;
mod postgres;
mod pulse;
mod redis;
mod source;
mod topics;

use async_trait::async_trait;
use bytes::Bytes;

pub use memory::Memory;
pub use merged::{Merged, Options, Servers, Sources};
pub use topics::Subscription;

use crate::Result;

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// What was published.
    Message(Bytes),
    /// Something may have been missed: read the truth.
    Gap,
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Where. At most 200 bytes.
    pub topic: String,
    /// What. A source that cannot carry its size delivers a gap instead.
    pub payload: Bytes,
}

impl Announcement {
    /// `payload` on `topic`.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), payload: payload.into() }
    }
}

/// Publishes and subscribes.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Announces `batch`, in its order. Not delivered to those who subscribe
    /// later.
    ///
    /// **Errors**: transient only; any part of the batch may have gone out,
    /// and who missed some of it is told of a gap when that is possible again.
    async fn publish(&self, batch: &[Announcement]) -> Result<()>;

    /// Follows `topic`. Everything published after this returns is delivered
    /// or announced as a gap. A backend that is away is no error: this then
    /// returns after a bounded wait, and a gap follows when it is back.
    async fn subscribe(&self, topic: &str) -> Result<Subscription>;

    /// False while no source is heard: what others announce does not arrive.
    fn is_heard(&self) -> bool {
        true
    }

    /// How many live processes do any of `kinds`, a bit each, this one included;
    /// `None` while nobody can tell. One that dies is counted for the bound of
    /// a lost process.
    fn company(&self, _kinds: u64) -> Option<u32> {
        Some(1)
    }
}
