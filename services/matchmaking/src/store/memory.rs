//! The index in memory: for one process, rebuilt from the rows.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use mingle_store::{Result, failover::Probe};
use parking_lot::Mutex;

use super::{Index, Lead, Span};
use crate::domain::{Entry, Position, Proposal, Queue, pool::Pools};

/// One queue per pool, each under its own short lock.
pub struct Memory {
    queues: HashMap<String, Mutex<Queue>>,
}

impl Memory {
    /// An empty index over `pools`.
    pub fn new(pools: &Pools) -> Self {
        let queue = |pool| Mutex::new(Queue::new(Arc::clone(pool)));
        Self { queues: pools.iter().map(|(name, pool)| (name.clone(), queue(pool))).collect() }
    }

    fn with<T: Default>(&self, pool: &str, act: impl FnOnce(&mut Queue) -> T) -> T {
        self.queues.get(pool).map(|queue| act(&mut queue.lock())).unwrap_or_default()
    }
}

#[async_trait]
impl Probe for Memory {
    async fn probe(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Index for Memory {
    /// Of one process: always held, and built before the first call.
    async fn lead(&self, _: &str, _: Duration) -> Result<Lead> {
        Ok(Lead::Held)
    }

    async fn enqueue(&self, pool: &str, entry: Entry, now_ms: i64) -> Result<Option<Proposal>> {
        Ok(self.with(pool, |queue| queue.enqueue(entry, now_ms)))
    }

    async fn put(&self, pool: &str, entries: Vec<Entry>) -> Result<()> {
        self.with(pool, |queue| entries.into_iter().for_each(|entry| queue.put(entry)));
        Ok(())
    }

    async fn remove(&self, pool: &str, ticket_id: &str) -> Result<()> {
        self.with(pool, |queue| queue.take(ticket_id));
        Ok(())
    }

    async fn alive(&self, ticket_ids: &[String], now_ms: i64) -> Result<()> {
        for queue in self.queues.values() {
            let mut queue = queue.lock();
            ticket_ids.iter().for_each(|ticket_id| queue.alive(ticket_id, now_ms));
        }
        Ok(())
    }

    async fn leftovers(&self, pool: &str, now_ms: i64, budget: usize) -> Result<Vec<Proposal>> {
        Ok(self.with(pool, |queue| queue.leftovers(now_ms, budget)))
    }

    async fn silent(
        &self,
        pool: &str,
        now_ms: i64,
        budget: usize,
    ) -> Result<Vec<(String, String)>> {
        let silent = self.with(pool, |queue| queue.silent(now_ms, budget));
        Ok(silent
            .into_iter()
            .map(|(ticket, user)| (ticket.to_string(), user.to_string()))
            .collect())
    }

    async fn reconcile(&self, pool: &str, span: Span) -> Result<Vec<Position>> {
        Ok(self.with(pool, |queue| queue.reconcile(&span.from, &span.to, &span.truth)))
    }

    async fn len(&self, pool: &str) -> Result<u64> {
        Ok(self.with(pool, |queue| queue.len() as u64))
    }
}
