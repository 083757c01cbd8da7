//! How many there are, over all partitions.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicI64, Ordering},
};

use mingle_store::{
    Result,
    redis::{Batch, Redis},
};

use super::{
    keys::Era,
    registry::Start,
    value::{SESSIONS, USERS, open_of},
};
use crate::{domain::PARTITIONS, store::Totals};

/// How long this process trusts its own counting of sessions.
const STALE_MS: i64 = 1_000;

/// The counters, and what this process knows of them.
pub(super) struct Counts {
    redis: Redis,
    max_sessions: i64,
    /// Sessions stored, as last read, and what this process added since.
    stored: AtomicI64,
    read_at: AtomicI64,
}

impl Counts {
    pub(super) fn new(redis: Redis, max_sessions: usize) -> Self {
        let max_sessions = i64::try_from(max_sessions).unwrap_or(i64::MAX);
        Self { redis, max_sessions, stored: AtomicI64::new(0), read_at: AtomicI64::new(0) }
    }

    /// Counts what this process stored or dropped.
    pub(super) fn add(&self, sessions: i64) {
        self.stored.fetch_add(sessions, Ordering::Relaxed);
    }

    /// True when no new session is taken. Others may fill the store at the same
    /// time: the bound is kept to within what all add in a second.
    pub(super) async fn is_full(&self, era: &Era, now: i64) -> Result<bool> {
        let read_at = self.read_at.load(Ordering::Relaxed);
        if read_at.abs_diff(now) >= STALE_MS.unsigned_abs() {
            self.read_at.store(now, Ordering::Relaxed);
            let mut batch = Batch::new();
            for partition in 0..PARTITIONS {
                batch.ask("HGET").arg(era.counts(partition)).arg(SESSIONS);
            }
            let stored: Vec<Option<i64>> = self.redis.pipeline(&batch).await?;
            self.stored.store(stored.into_iter().flatten().sum(), Ordering::Relaxed);
        }
        Ok(self.stored.load(Ordering::Relaxed) >= self.max_sessions)
    }

    /// Users announced, and open sockets of `holding`.
    pub(super) async fn totals(&self, era: &Era, holding: &[Start]) -> Result<Totals> {
        let mut batch = Batch::new();
        for partition in 0..PARTITIONS {
            batch.ask("HGETALL").arg(era.counts(partition));
        }
        let partitions: Vec<HashMap<String, i64>> = self.redis.pipeline(&batch).await?;
        let holding: Vec<_> = holding.iter().map(|start| open_of(start.id())).collect();
        let mut totals = Totals::default();
        for counts in partitions {
            let of =
                |name: &str| counts.get(name).map_or(0, |count| (*count).max(0).unsigned_abs());
            totals.users += of(USERS);
            totals.sessions += holding.iter().map(|start| of(start)).sum::<u64>();
        }
        Ok(totals)
    }
}
