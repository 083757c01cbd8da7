//! An index whose callers move the time: of the server's scripts too.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mingle_matchmaking::{
    domain::{Entry, Position, Proposal},
    store::{Index, Lead, Span, redis::RedisIndex},
};
use mingle_store::{
    Result,
    clock::{Clock as _, ManualClock},
    failover::Probe,
};
use mingle_testkit::Redis as Server;

pub(crate) struct Timed {
    pub(crate) index: RedisIndex,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) _server: Option<Server>,
}

impl Timed {
    fn at(&self, now_ms: i64) -> &RedisIndex {
        self.clock.advance(now_ms - self.clock.now_ms());
        &self.index
    }
}

#[async_trait]
impl Probe for Timed {
    async fn probe(&self) -> Result<()> {
        self.index.probe().await
    }
}

#[async_trait]
impl Index for Timed {
    async fn lead(&self, holder: &str, ttl: Duration) -> Result<Lead> {
        self.index.lead(holder, ttl).await
    }

    async fn enqueue(&self, pool: &str, entry: Entry, now_ms: i64) -> Result<Option<Proposal>> {
        self.at(now_ms).enqueue(pool, entry, now_ms).await
    }

    async fn put(&self, pool: &str, entries: Vec<Entry>) -> Result<()> {
        self.index.put(pool, entries).await
    }

    async fn remove(&self, pool: &str, ticket_id: &str) -> Result<()> {
        self.index.remove(pool, ticket_id).await
    }

    async fn alive(&self, ticket_ids: &[String], now_ms: i64) -> Result<()> {
        self.at(now_ms).alive(ticket_ids, now_ms).await
    }

    async fn leftovers(&self, pool: &str, now_ms: i64, budget: usize) -> Result<Vec<Proposal>> {
        self.at(now_ms).leftovers(pool, now_ms, budget).await
    }

    async fn silent(
        &self,
        pool: &str,
        now_ms: i64,
        budget: usize,
    ) -> Result<Vec<(String, String)>> {
        self.at(now_ms).silent(pool, now_ms, budget).await
    }

    async fn reconcile(&self, pool: &str, span: Span) -> Result<Vec<Position>> {
        self.index.reconcile(pool, span).await
    }

    async fn len(&self, pool: &str) -> Result<u64> {
        self.index.len(pool).await
    }
}
