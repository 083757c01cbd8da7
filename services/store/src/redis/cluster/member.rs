//! How a server of a cluster is compared with the fence.
//!
//! The fence is one key, in one slot: it names every server that ever had a part of
//! the data. One that it knows otherwise has lost something, and so may one that
//! it does not know and that was promoted: a new generation begins. One that it does
//! not know and that never followed another came without data, and gets its slots
//! from others.
//!
//! Besides, each server has a mark in a slot of its own, without a TTL: it lives as
//! long as the data beside it, and moves with its slot. The fence knows it, too: where
//! it is another one the data was taken away.

use std::{
    sync::{
        Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;

use super::{Cluster, Redirect, hash};
use crate::redis::{
    ask::{Ask, Asker},
    client::key,
    fault,
    fence::{Generation, Identity},
    link::answered,
    patient::Patient,
    place::Address,
    servers::Servers,
};

/// What the fence may take, of a connection that is about to be made.
const COMPARE: Duration = Duration::from_secs(1);

/// Where a server has its mark.
struct Mark {
    slot: u16,
    key: String,
}

/// The server of one connection.
pub(in crate::redis) struct Member {
    cluster: Weak<Cluster>,
    address: Address,
    identity: Identity,
    mark: Mutex<Option<Mark>>,
    /// Of the fence, when the last pulse was asked.
    changes: AtomicU64,
}

impl Member {
    pub(in crate::redis) fn new(
        cluster: Weak<Cluster>,
        address: Address,
        identity: Identity,
    ) -> Self {
        let (mark, changes) = (Mutex::default(), AtomicU64::new(0));
        Self { cluster, address, identity, mark, changes }
    }

    /// Compares before the first use: by a write, too.
    pub(in crate::redis) async fn compare(&self, connection: &mut Patient) -> RedisResult<()> {
        let Some(cluster) = self.cluster.upgrade() else { return Err(gone()) };
        // A server is made to connect under this lock, until after the map that says
        // what it has is published.
        drop(cluster.nodes.lock());
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        self.pulse(&mut pipe);
        let said: Vec<Value> =
            if pipe.is_empty() { Vec::new() } else { pipe.query_async(connection).await? };
        let mark = self.shown(&said)?;
        let identities = self.own(&cluster).into_iter().chain(mark);
        cluster.pass(identities.collect(), None, (&self.address, connection)).await
    }

    /// A write, and what is there since.
    pub(in crate::redis) fn pulse(&self, pipe: &mut Pipeline) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        let Some(key) = self.mark_of(&cluster) else { return };
        pipe.cmd("HSETNX").arg(&key).arg("mark").arg(Generation::random());
        pipe.cmd("HGET").arg(&key).arg("mark");
        if cluster.map.borrow().has(&self.address, cluster.fence.slot()) {
            self.changes.store(cluster.fence.changes(), Ordering::Relaxed);
            cluster.fence.read(pipe);
        }
    }

    /// What a pulse was answered. That the fence cannot be asked is no fault of this
    /// server: it is asked again with the next pulse.
    pub(in crate::redis) async fn heed(
        &self,
        said: &[Value],
        connection: &mut Patient,
    ) -> RedisResult<()> {
        let Some(cluster) = self.cluster.upgrade() else { return Ok(()) };
        let changes = self.changes.load(Ordering::Relaxed);
        let mut identities: Vec<_> =
            self.own(&cluster).into_iter().chain(self.shown(said)?).collect();
        let emptied = match said.get(2).map(here).transpose()?.flatten() {
            // The fence was taken away, with what is beside it or alone.
            Some(None) => Some(changes),
            Some(Some(generation)) if cluster.fence.changes() == changes => {
                cluster.fence.hold(generation);
                None
            }
            _ => None,
        };
        if emptied.is_some() {
            let passed = cluster.passed.lock();
            let others =
                passed.values().filter(|of| identities.iter().all(|it| it.field != of.field));
            let others: Vec<_> = others.cloned().collect();
            identities.extend(others);
        }
        let way = (&self.address, connection);
        if let Err(error) = cluster.pass(identities, emptied, way).await {
            tracing::debug!(%error, "the fence of the redis cluster cannot be asked");
        }
        Ok(())
    }

    /// What it is, when it has anything.
    fn own(&self, cluster: &Cluster) -> Option<Identity> {
        cluster.map.borrow().has_any(&self.address).then(|| self.identity.clone())
    }

    /// The mark as the fence is to know it.
    fn shown(&self, said: &[Value]) -> RedisResult<Option<Identity>> {
        let [written, shown, ..] = said else { return Ok(None) };
        let mut mark = self.mark.lock();
        let (Some(_), Some(shown)) = (here(written)?, here(shown)?) else {
            // The slot of the mark is on its way, or not here any more.
            *mark = None;
            if let Some(cluster) = self.cluster.upgrade() {
                cluster.wake.notify_one();
            }
            return Ok(None);
        };
        let field = mark.as_ref().map(|mark| mark.key.clone());
        Ok(field.zip(shown).map(|(field, is)| Identity { field, is, joins: true }))
    }

    /// The key of the mark: `None` when the server has no slots.
    fn mark_of(&self, cluster: &Cluster) -> Option<String> {
        let mut mark = self.mark.lock();
        let map = cluster.map.borrow();
        if let Some(mark) = &*mark
            && map.has(&self.address, mark.slot)
        {
            return Some(mark.key.clone());
        }
        *mark = None;
        if map.has_any(&self.address) {
            // Of as many as there are servers one is here.
            let keys =
                (0_u64..).map(|at| key(&cluster.start.prefix, format_args!("{{mark:{at}}}")));
            let mut marks = keys.map(|key| Mark { slot: hash::slot(key.as_bytes()), key });
            *mark = marks.find(|mark| map.has(&self.address, mark.slot));
        }
        mark.as_ref().map(|mark| mark.key.clone())
    }
}

impl Cluster {
    /// Has the fence compare what it has not compared as such before, on the
    /// connection to this server when the fence is there; all of it when it was
    /// emptied and nothing has begun since.
    async fn pass(
        &self,
        identities: Vec<Identity>,
        emptied: Option<u64>,
        (address, connection): (&Address, &mut Patient),
    ) -> RedisResult<()> {
        let is_known = || emptied != Some(self.fence.changes()) && self.has_passed(&identities);
        if is_known() {
            return Ok(());
        }
        let deadline = Instant::now() + COMPARE;
        let has_fence = self.map.borrow().has(address, self.fence.slot());
        if !has_fence {
            // Before the turn, which its connection may need to be made.
            let node = self.node(Some(self.fence.slot())).map_err(fault::of_fence)?;
            node.commands().link(deadline).await.map_err(fault::of_fence)?;
        }
        // One after the other, so that the last answer is the last word.
        let _turn = self.turn.lock().await;
        if is_known() {
            return Ok(());
        }
        let compare = self.fence.compare(&identities);
        let generation: String = if has_fence {
            compare.query_async(connection).await?
        } else {
            let servers = Servers::Cluster(self.me.upgrade().ok_or_else(gone)?);
            let begun = Instant::now();
            let asker = Asker { servers: &servers, begun, timeout: COMPARE, clock: None };
            let asked = asker.one(Ask::At(self.fence.slot(), &compare)).await;
            redis::from_redis_value(asked.map_err(fault::of_fence)?)?
        };
        self.fence.hold(generation);
        let passed = identities.into_iter().map(|of| (of.field.clone(), of));
        self.passed.lock().extend(passed);
        Ok(())
    }

    fn has_passed(&self, identities: &[Identity]) -> bool {
        let passed = self.passed.lock();
        identities.iter().all(|of| passed.get(&of.field).is_some_and(|known| known.is == of.is))
    }
}

/// `None`: it is to be asked elsewhere.
fn here(value: &Value) -> RedisResult<Option<Option<String>>> {
    match answered(value) {
        Ok(Value::Int(_)) => Ok(Some(None)),
        Ok(value) => Ok(Some(redis::from_redis_value_ref(value)?)),
        Err(error) if Redirect::read(&error).is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The process ends.
fn gone() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::NotConnected).into()
}
