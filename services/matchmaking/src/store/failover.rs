//! [`Index`] on Redis while it answers, else on the rows.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | a call of Redis fails or times out | the same is asked of the rows; what Redis does late is proposed to nobody, or refused by the rows |
//! | Redis is away for one process only | its tickets are rows, which the leader on Redis takes into the index with its next sweep, with the proofs of life noted here |
//! | Redis is back, with its data or without | who leads there begins anew and compares every row |

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use mingle_store::{
    Result,
    breaker::Policy,
    failover::{Failover, Probe},
};
use tokio_util::sync::CancellationToken;

use super::{Index, Lead, Span};
use crate::domain::{Entry, Position, Proposal};

/// See the module.
pub struct FailoverIndex {
    indexes: Failover<dyn Index>,
    away: AtomicBool,
}

impl FailoverIndex {
    /// Asks `redis`, or else `rows`. Probes until `stop`.
    pub fn start(redis: Arc<dyn Index>, rows: Arc<dyn Index>, stop: CancellationToken) -> Self {
        let indexes = Failover::start("match index", redis, rows, Policy::default(), stop);
        Self { indexes, away: AtomicBool::new(false) }
    }

    async fn ask<T, F>(&self, call: impl Fn(Arc<dyn Index>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.indexes.call(call).await.map(|served| served.value)
    }
}

#[async_trait]
impl Probe for FailoverIndex {
    async fn probe(&self) -> Result<()> {
        self.ask(|index| async move { index.probe().await }).await
    }
}

#[async_trait]
impl Index for FailoverIndex {
    async fn lead(&self, holder: &str, ttl: Duration) -> Result<Lead> {
        let lead = self.indexes.call(|index| async move { index.lead(holder, ttl).await }).await?;
        self.away.store(lead.degraded, Ordering::Relaxed);
        Ok(lead.value)
    }

    fn is_degraded(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    async fn enqueue(&self, pool: &str, entry: Entry, now_ms: i64) -> Result<Option<Proposal>> {
        let call = |index: Arc<dyn Index>| {
            let entry = entry.clone();
            async move { index.enqueue(pool, entry, now_ms).await }
        };
        self.ask(call).await
    }

    async fn put(&self, pool: &str, entries: Vec<Entry>) -> Result<()> {
        let call = |index: Arc<dyn Index>| {
            let entries = entries.clone();
            async move { index.put(pool, entries).await }
        };
        self.ask(call).await
    }

    async fn remove(&self, pool: &str, ticket_id: &str) -> Result<()> {
        let call = |index: Arc<dyn Index>| async move { index.remove(pool, ticket_id).await };
        self.ask(call).await
    }

    async fn alive(&self, ticket_ids: &[String], now_ms: i64) -> Result<()> {
        let call = |index: Arc<dyn Index>| async move { index.alive(ticket_ids, now_ms).await };
        self.ask(call).await
    }

    async fn leftovers(&self, pool: &str, now_ms: i64, budget: usize) -> Result<Vec<Proposal>> {
        let call =
            |index: Arc<dyn Index>| async move { index.leftovers(pool, now_ms, budget).await };
        self.ask(call).await
    }

    async fn silent(
        &self,
        pool: &str,
        now_ms: i64,
        budget: usize,
    ) -> Result<Vec<(String, String)>> {
        let call = |index: Arc<dyn Index>| async move { index.silent(pool, now_ms, budget).await };
        self.ask(call).await
    }

    async fn reconcile(&self, pool: &str, span: Span) -> Result<Vec<Position>> {
        let call = |index: Arc<dyn Index>| {
            let span = span.clone();
            async move { index.reconcile(pool, span).await }
        };
        self.ask(call).await
    }

    async fn len(&self, pool: &str) -> Result<u64> {
        self.ask(|index| async move { index.len(pool).await }).await
    }
}
