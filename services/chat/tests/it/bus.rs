//! Buses that misbehave, or count.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use mingle_store::{
    Error, ErrorKind, Result,
    bus::{Announcement, Bus, Memory, Subscription},
};
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// A bus that loses, doubles and reorders what is published, or takes nothing.
pub(crate) struct Rough {
    memory: Memory,
    rng: Mutex<StdRng>,
    late: Mutex<Option<Announcement>>,
    deaf: bool,
    dropped: AtomicUsize,
    doubled: AtomicUsize,
    reordered: AtomicUsize,
}

impl Rough {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            memory: Memory::new(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            late: Mutex::default(),
            deaf: false,
            dropped: AtomicUsize::new(0),
            doubled: AtomicUsize::new(0),
            reordered: AtomicUsize::new(0),
        }
    }

    /// Refuses every announcement.
    pub(crate) fn deaf() -> Self {
        Self { deaf: true, ..Self::new(0) }
    }

    async fn mishandle(&self, one: Announcement) -> Result<()> {
        if self.deaf {
            self.dropped.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Unavailable, "deaf bus"));
        }
        let draw = self.rng.lock().random_range(0..10);
        match draw {
            0 | 1 => _ = self.dropped.fetch_add(1, Ordering::SeqCst),
            2 | 3 => {
                self.doubled.fetch_add(1, Ordering::SeqCst);
                self.memory.publish(&[one.clone(), one]).await?;
            }
            4 | 5 => {
                self.reordered.fetch_add(1, Ordering::SeqCst);
                let before = self.late.lock().replace(one);
                self.memory.publish(before.as_slice()).await?;
            }
            _ => {
                self.memory.publish(&[one]).await?;
                let late = self.late.lock().take();
                self.memory.publish(late.as_slice()).await?;
            }
        }
        Ok(())
    }

    /// How many were dropped or refused, doubled, and overtaken.
    pub(crate) fn mischief(&self) -> (usize, usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.dropped), count(&self.doubled), count(&self.reordered))
    }
}

#[async_trait]
impl Bus for Rough {
    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        for one in batch {
            self.mishandle(one.clone()).await?;
        }
        Ok(())
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        self.memory.subscribe(topic).await
    }
}

/// A bus that counts who listens.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) memory: Memory,
    pub(crate) subscribed: AtomicUsize,
}

#[async_trait]
impl Bus for Counting {
    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        self.memory.publish(batch).await
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        self.subscribed.fetch_add(1, Ordering::SeqCst);
        self.memory.subscribe(topic).await
    }
}

/// A bus of which nothing is heard when it is said so.
#[derive(Default)]
pub(crate) struct Severed {
    memory: Memory,
    pub(crate) severed: AtomicBool,
}

#[async_trait]
impl Bus for Severed {
    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        if self.is_heard() { self.memory.publish(batch).await } else { Ok(()) }
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        self.memory.subscribe(topic).await
    }

    fn is_heard(&self) -> bool {
        !self.severed.load(Ordering::SeqCst)
    }
}
