//! The bus within one process.
//!
//! | what happens | what a subscriber sees |
//! | --- | --- |
//! | its queue is full | one gap, then what was queued, then what comes |
//! | the bus is dropped | what was queued, then the end |

use std::sync::Arc;

use async_trait::async_trait;

use super::{Announcement, Bus, Subscription, topics::Topics};
use crate::Result;

/// Delivers at once, within the process, and refuses nothing.
pub struct Memory {
    topics: Topics,
}

impl Memory {
    /// A bus without topics.
    pub fn new() -> Self {
        Self { topics: Topics::new(Arc::new(|_| {})) }
    }

    /// Topics with a subscriber now.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Bus for Memory {
    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        for announcement in batch {
            self.topics.deliver(&announcement.topic, &announcement.payload);
        }
        Ok(())
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        Ok(self.topics.subscribe(topic))
    }
}
