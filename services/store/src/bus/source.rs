//! What a server offers the bus.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Announcement, ear::Ear};
use crate::Result;

/// A way between processes, listened to for good by its own task.
#[async_trait]
pub(super) trait Source: Send + Sync + 'static {
    /// What is heard of it.
    fn ear(&self) -> &Arc<Ear>;

    /// Publishes, each in its order. **Errors**: whether any of it went out is
    /// unknown.
    async fn publish(&self, batch: &[Announcement]) -> Result<()>;

    /// Says a heartbeat to every process, this one too.
    async fn beat(&self, beat: Bytes) -> Result<()>;

    /// Waits until a topic that is subscribed to in this process is heard, or
    /// a bounded time, with a gap to follow.
    async fn confirm(&self, topic: &str);
}
