//! How often subjects are asked about: enough of it to tell the hot ones.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use super::LIFE;

/// Several subjects may share one, and be thought hot.
const BUCKETS: usize = 4_096;

/// Asks by subject within a time, in a space that does not grow.
pub(super) struct Heat {
    begun: Instant,
    hash: RandomState,
    /// Which time it is of, and how many.
    buckets: Box<[AtomicU64]>,
}

impl Heat {
    pub(super) fn new() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { begun: Instant::now(), hash: RandomState::new(), buckets }
    }

    /// One more; answers how many there were within this time.
    pub(super) fn rises(&self, subject: &str) -> u64 {
        let time = (self.begun.elapsed().as_millis() / LIFE.as_millis()) as u64 & 0xffff_ffff;
        let at = self.hash.hash_one(subject) as usize % BUCKETS;
        let counted = |before: u64| {
            let asks = if before >> 32 == time { before & 0xffff_ffff } else { 0 };
            Some(time << 32 | (asks + 1).min(0xffff_ffff))
        };
        let bucket = &self.buckets[at];
        let before = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        let before = before.unwrap_or_else(|before| before);
        if before >> 32 == time { (before & 0xffff_ffff) + 1 } else { 1 }
    }
}
