//! Nodes: registered, renewed, and known well enough.

use std::sync::Arc;

use mingle_store::{
    Error, ErrorKind, Result,
    redis::{Redis, Script},
};
use parking_lot::Mutex;

use super::{
    keys::Era,
    registry::{Entry, Start, Table},
};
use crate::{
    domain::{Holder as _, Node, Terms},
    store::Registered,
};

static NODES: Script = Script::new("nodes", include_str!("../../../lua/nodes.lua"));
static LEASE: Script = Script::new("lease", include_str!("../../../lua/lease.lua"));

/// How old the table may be where nothing hangs on it.
pub(super) const STALE_MS: i64 = 250;
/// Attempts at a node that others write, too.
const TRIES: usize = 8;
/// Any node renews within seconds.
const LIVES_MS: i64 = 3_600_000;
/// What was replaced this long ago has no sessions left that anyone looks for.
const FORGET_MS: i64 = 3_600_000;
/// Starts of one node within that time; beyond, the oldest is forgotten.
const MAX_REPLACED: usize = 64;

/// The nodes of one store.
pub(super) struct Nodes {
    redis: Redis,
    terms: Terms,
    max: usize,
    table: Mutex<Option<Arc<Table>>>,
    /// Held by whoever reads the table, so that one does.
    reading: tokio::sync::Mutex<()>,
}

impl Nodes {
    pub(super) fn new(redis: Redis, terms: Terms, max: usize) -> Self {
        Self { redis, terms, max, table: Mutex::new(None), reading: tokio::sync::Mutex::new(()) }
    }

    /// All nodes, as they were at most 250 ms from `now`.
    pub(super) async fn table(&self, era: &Era, now: i64) -> Result<Arc<Table>> {
        let known = || self.table.lock().clone().filter(|it| it.is_of(era.name(), now, STALE_MS));
        if let Some(table) = known() {
            return Ok(table);
        }
        let _one = self.reading.lock().await;
        match known() {
            Some(table) => Ok(table),
            None => self.fresh(era).await,
        }
    }

    /// All nodes as they are.
    pub(super) async fn fresh(&self, era: &Era) -> Result<Arc<Table>> {
        let (now, fields): (i64, Vec<Vec<u8>>) =
            self.redis.run(&NODES, &[era.nodes()], &[]).await?;
        let table = Arc::new(Table::read(era.name(), now, &fields)?);
        *self.table.lock() = Some(table.clone());
        Ok(table)
    }

    /// The present start of a node that is not gone, as it is: a table that is
    /// but a little old may name the one before.
    pub(super) async fn present(&self, era: &Era, node_id: &str) -> Result<Option<Start>> {
        let (now, entry) = self.entry(era, node_id).await?;
        let entry = entry.filter(|entry| entry.lease().is_renewable(now, &self.terms));
        Ok(entry.map(|entry| entry.present()))
    }

    async fn entry(&self, era: &Era, node_id: &str) -> Result<(i64, Option<Entry>)> {
        let (now, fields): (i64, Vec<Vec<u8>>) =
            self.redis.run(&NODES, &[era.nodes()], &[node_id.into()]).await?;
        let value = fields.get(1).map(|value| Entry::read(node_id, value));
        Ok((now, value.transpose()?))
    }

    /// Writes `next` where `was` is, before `until`. Else what is there now.
    async fn write(
        &self,
        era: &Era,
        was: Option<&Entry>,
        next: Option<&Entry>,
        until: Option<i64>,
    ) -> Result<Result<(), (i64, Option<Entry>)>> {
        let Some(node_id) = next.or(was).map(|entry| &entry.node.node_id) else {
            return Ok(Ok(()));
        };
        let bytes = |entry: Option<&Entry>| entry.map(Entry::bytes).unwrap_or_default();
        let until = until.map(|ms| ms.to_string()).unwrap_or_default();
        let args =
            [node_id.into(), bytes(was).into(), bytes(next).into(), until.into(), LIVES_MS.into()];
        let (done, now, present): (bool, i64, Vec<u8>) =
            self.redis.run(&LEASE, &[era.nodes()], &args).await?;
        if done {
            return Ok(Ok(()));
        }
        let present = (!present.is_empty()).then(|| Entry::read(node_id, &present));
        Ok(Err((now, present.transpose()?)))
    }

    pub(super) async fn register(&self, era: &Era, node: Node) -> Result<Registered> {
        let table = self.fresh(era).await?;
        if !table.has(&node.node_id) {
            let now = table.read_at();
            let there = |entry: &&Entry| !entry.lease().is_gone(now, &self.terms);
            let nodes = table.entries().filter(there).count();
            // Those that are gone are known for a while: a bound for them, too.
            if nodes >= self.max || table.entries().count() >= 2 * self.max {
                return Ok(Registered::Full);
            }
        }
        let (mut now, mut was) = self.entry(era, &node.node_id).await?;
        for _ in 0..TRIES {
            let next = match self.decide(was.as_ref(), &node, now, &table) {
                Ok(next) => next,
                Err(newer) => return Ok(Registered::Superseded(newer)),
            };
            match self.write(era, was.as_ref(), Some(&next), None).await? {
                Ok(()) => {
                    *self.table.lock() = None;
                    return Ok(Registered::Leased);
                }
                Err(present) => (now, was) = present,
            }
        }
        Err(contended())
    }

    /// What `node` is to be stored as, or the newer generation that is there.
    fn decide(
        &self,
        was: Option<&Entry>,
        node: &Node,
        now: i64,
        table: &Table,
    ) -> Result<Entry, u64> {
        let mut replaced = Vec::new();
        if let Some(was) = was {
            let held = was.node.generation;
            if was.lease().is_renewable(now, &self.terms) {
                if held > node.generation {
                    return Err(held);
                }
                if held == node.generation {
                    let renewed_at = was.renewed_at.max(now);
                    return Ok(Entry { node: node.clone(), renewed_at, ..was.clone() });
                }
            }
            replaced.clone_from(&was.replaced);
            replaced.push((was.start, was.renewed_at, now));
            replaced.retain(|(_, _, at)| now.saturating_sub(*at) < FORGET_MS);
            let beyond = replaced.len().saturating_sub(MAX_REPLACED);
            replaced.drain(..beyond);
        }
        let mut start = rand::random();
        while table.start(start).is_some() {
            start = rand::random();
        }
        Ok(Entry { node: node.clone(), start, renewed_at: now, replaced })
    }

    pub(super) async fn renew(&self, era: &Era, node_id: &str, generation: u64) -> Result<bool> {
        let (mut now, mut was) = self.entry(era, node_id).await?;
        for _ in 0..TRIES {
            let lease = was.as_ref().map(Entry::lease);
            let Some(entry) = was.filter(|entry| entry.node.generation == generation) else {
                return Ok(false);
            };
            if !lease.is_some_and(|lease| lease.is_renewable(now, &self.terms)) {
                return Ok(false);
            }
            let next = Entry { renewed_at: entry.renewed_at.max(now), ..entry.clone() };
            // Whoever found the node gone dropped its sessions: not after that.
            let gone_at = entry.lease().ends_at(&self.terms).saturating_add(self.terms.grace_ms);
            match self.write(era, Some(&entry), Some(&next), Some(gone_at)).await? {
                Ok(()) => {
                    let table = self.table.lock().clone();
                    if let Some(start) = table.and_then(|table| table.start(entry.start)) {
                        start.renew(next.renewed_at);
                    }
                    return Ok(true);
                }
                Err(present) => (now, was) = present,
            }
        }
        Err(contended())
    }

    /// The nodes whose lease holds, by id.
    pub(super) async fn list(&self, era: &Era) -> Result<Vec<Node>> {
        let table = self.fresh(era).await?;
        let now = table.read_at();
        let holding = table.entries().filter(|entry| entry.lease().holds(now, &self.terms));
        let mut nodes: Vec<_> = holding.map(|entry| entry.node.clone()).collect();
        nodes.sort_unstable();
        Ok(nodes)
    }

    /// The starts whose sessions are live.
    pub(super) async fn holding(&self, era: &Era) -> Result<Vec<Start>> {
        let table = self.fresh(era).await?;
        let now = table.read_at();
        let holding = table.starts().filter(|start| start.lease().holds(now, &self.terms));
        Ok(holding.cloned().collect())
    }

    /// Forgets the nodes whose present start is among `starts`, if it is gone.
    pub(super) async fn forget(&self, era: &Era, table: &Table, starts: &[u32]) -> Result<()> {
        let now = table.read_at();
        for entry in table.entries().filter(|entry| starts.contains(&entry.start)) {
            if entry.lease().is_gone(now, &self.terms) {
                // Registered anew meanwhile: then it is not what was read.
                let _ = self.write(era, Some(entry), None, None).await?;
            }
        }
        Ok(())
    }
}

fn contended() -> Error {
    Error::new(ErrorKind::Unavailable, "presence: others write the same all the time")
}
