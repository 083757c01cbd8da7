//! Counters and bells by key: so many that few keys share one.

use std::{
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
};

use ahash::RandomState;
use tokio::sync::Notify;

const SHARDS: usize = 1024;

/// What happened to keys, without knowing them: a change of another key of the same
/// shard counts, too.
pub(super) struct Shards {
    hasher: RandomState,
    changes: Box<[AtomicU64]>,
    bells: Box<[Notify]>,
}

impl Shards {
    pub(super) fn new() -> Self {
        let changes = (0..SHARDS).map(|_| AtomicU64::new(0)).collect();
        let bells = (0..SHARDS).map(|_| Notify::new()).collect();
        Self { hasher: RandomState::new(), changes, bells }
    }

    fn of(&self, key: &impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % SHARDS
    }

    /// How often it may have changed: what was read before this grew may be old.
    pub(super) fn changes(&self, key: &impl Hash) -> u64 {
        self.changes[self.of(key)].load(Ordering::Acquire)
    }

    /// It has changed.
    pub(super) fn change(&self, key: &impl Hash) {
        let shard = self.of(key);
        self.changes[shard].fetch_add(1, Ordering::AcqRel);
        self.bells[shard].notify_waiters();
    }

    /// Everything may have.
    pub(super) fn change_all(&self) {
        for (changes, bell) in self.changes.iter().zip(&self.bells) {
            changes.fetch_add(1, Ordering::AcqRel);
            bell.notify_waiters();
        }
    }

    /// Rings at each change.
    pub(super) fn bell(&self, key: &impl Hash) -> &Notify {
        &self.bells[self.of(key)]
    }
}
