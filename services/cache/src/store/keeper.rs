//! Keeping together while that can be done, and alone meanwhile.
//!
//! | what fails | what follows |
//! | --- | --- |
//! | a read ends in an error | the memory of this process answers: what was stored while Redis was away, and leases of this process alone |
//! | a Set | this process has the value until Redis is back, which has none: it is deleted there before this process reads there again |
//! | a Delete, an InvalidateTag | the same of what it voids; the answer is PENDING |
//! | too many of these | the whole namespace is voided when Redis is back |
//! | a Fill | rejected, unless the lease is of this process alone |
//! | most of 20 calls within a second, or two heartbeats in a row | the breaker opens: Redis is not asked at all until a probe succeeds, one each second |
//! | Redis is back | what is pending is done first; what was kept alone is forgotten with the next heartbeat, within a second |
//! | this process ends before | what was pending is not done: a value lives until its hard end |
//! | Redis restarted, was restored or promoted | nothing of before counts: see [`RedisStore`]; each process that finds out voids every namespace once, as it may have deleted at the server that was replaced what others had loaded already at the one that is |

use std::sync::Arc;

use async_trait::async_trait;
use mingle_store::{
    Error, ErrorKind, Result,
    breaker::{Breaker, Policy},
    failover::{Probe, Served, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Store,
    memory::Memory,
    pending::{Changes, Pending},
    redis::RedisStore,
};
use crate::domain::{Ask, Expects, Fill, Filled, Found, Key, Mark, Put};

/// What is kept, wherever that is.
pub struct Keeper {
    alone: Arc<Memory>,
    together: Option<Arc<Together>>,
}

/// What is shared with other processes.
struct Together {
    store: RedisStore,
    /// What is kept in its place.
    alone: Arc<Memory>,
    breaker: Arc<Breaker>,
    pending: Pending,
    /// What is done, and the others are to be told.
    late: Pending,
}

impl Keeper {
    /// All of it in the memory of this process.
    pub fn alone(memory: Memory) -> Self {
        Self { alone: Arc::new(memory), together: None }
    }

    /// Together with others, and in `memory` while that cannot be.
    pub fn start(
        memory: Memory,
        store: RedisStore,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let breaker = Arc::new(Breaker::new("cache", Policy::default()));
        let (pending, late) = (Pending::default(), Pending::default());
        let alone = Arc::new(memory);
        let together = Together { store, alone: alone.clone(), breaker, pending, late };
        let together = Arc::new(together);
        tasks.spawn(watch(together.clone(), together.breaker.clone(), stop));
        Self { alone, together: Some(together) }
    }

    /// Open while nothing is shared; `None` where nothing ever is.
    pub fn breaker(&self) -> Option<&Arc<Breaker>> {
        self.together.as_ref().map(|together| &together.breaker)
    }

    /// True while what is shared is not asked.
    pub fn is_away(&self) -> bool {
        self.breaker().is_some_and(|breaker| breaker.is_open())
    }

    /// Bytes that values became which were stored by this process; `None` where they are
    /// kept as they come.
    pub fn kept_bytes(&self, namespace: &str) -> Option<u64> {
        self.together.as_ref().map(|together| together.store.kept_bytes(namespace))
    }

    /// What is done and was not told, and a number to say by that it was; too much to
    /// keep is all of a namespace.
    pub fn late(&self) -> (Changes, u64) {
        let late = self.together.as_ref().map(|together| together.late.all());
        late.unwrap_or_default()
    }

    /// What was there at this number was told.
    pub fn told(&self, number: u64) {
        if let Some(together) = &self.together {
            together.late.done(number);
        }
    }

    /// What is done, and could not be told.
    pub fn tell_late(&self, changes: &Changes) {
        if let Some(together) = &self.together {
            together.late.add(changes);
        }
    }

    /// See [`Store::look`].
    pub async fn look(&self, asks: &[Ask]) -> Served<Vec<Found>> {
        let asked = self
            .shared(async |store| store.look(asks).await.into_iter().collect::<Result<Vec<_>>>());
        match asked.await {
            Some(found) => Served { value: found, degraded: false },
            None => {
                let found = asks.iter().map(|ask| self.alone.look_one(ask)).collect();
                Served { value: found, degraded: self.together.is_some() }
            }
        }
    }

    /// See [`Store::versions`].
    pub async fn versions(&self, marks: &[Mark]) -> Served<Vec<u64>> {
        if marks.is_empty() {
            return Served { value: Vec::new(), degraded: false };
        }
        match self.shared(async |store| store.versions(marks).await).await {
            Some(versions) => Served { value: versions, degraded: false },
            None => {
                let versions = marks.iter().map(|mark| self.alone.version(mark)).collect();
                Served { value: versions, degraded: self.together.is_some() }
            }
        }
    }

    /// See [`Store::put`].
    ///
    /// **Errors**: `Unavailable` for what expects something, while nobody can tell what
    /// is there.
    pub async fn put(&self, puts: &[Put]) -> Result<Served<Vec<bool>>> {
        let asked = self
            .shared(async |store| store.put(puts).await.into_iter().collect::<Result<Vec<_>>>());
        if let Some(stored) = asked.await {
            return Ok(Served { value: stored, degraded: false });
        }
        if self.together.is_some() && puts.iter().any(|put| put.expects != Expects::Any) {
            return Err(Error::new(ErrorKind::Unavailable, "nobody can tell what is there"));
        }
        let keys = puts.iter().map(|put| put.key.clone()).collect();
        self.owe(&Changes { keys, marks: Vec::new() });
        let stored = puts.iter().map(|put| self.alone.put_one(put)).collect();
        Ok(Served { value: stored, degraded: self.together.is_some() })
    }

    /// See [`Store::fill`].
    pub async fn fill(&self, fill: &Fill) -> Filled {
        match self.alone.fill_one(fill) {
            Filled::Rejected => {}
            filled => return filled,
        }
        let filled = self.shared(async |store| store.fill(fill).await).await;
        filled.unwrap_or(Filled::Rejected)
    }

    /// See [`Store::touch`].
    pub async fn touch(&self, key: &Key, version: u64, soft_us: u64, hard_us: u64) -> bool {
        let touched = self.shared(async |store| store.touch(key, version, soft_us, hard_us).await);
        match touched.await {
            Some(touched) => touched,
            None => self.alone.touch_one(key, version, soft_us, hard_us),
        }
    }

    /// Deletes and voids; true when that is done, false when it is pending.
    pub async fn void(&self, changes: &Changes) -> bool {
        self.alone.void(changes);
        if self.together.is_none() {
            return true;
        }
        let done = self.shared(async |store| done(store, changes).await).await;
        if done.is_none() {
            self.owe(changes);
        }
        done.is_some()
    }

    /// Has these done before anything that is shared is asked again.
    pub fn owe(&self, changes: &Changes) {
        if let Some(together) = &self.together {
            together.pending.add(changes);
        }
    }

    /// Asks what is shared, when what is pending there is done; `None` when that cannot
    /// be.
    async fn shared<T>(&self, ask: impl AsyncFnOnce(&RedisStore) -> Result<T>) -> Option<T> {
        let together = self.together.as_ref().filter(|together| !together.breaker.is_open())?;
        let asked = async {
            together.settle().await?;
            ask(&together.store).await
        };
        let answer = asked.await;
        together.breaker.record(answer.is_err());
        answer.inspect_err(|error| tracing::debug!(%error, "the shared cache did not answer")).ok()
    }
}

impl Together {
    /// Does what is pending.
    async fn settle(&self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (changes, number) = self.pending.all();
        done(&self.store, &changes).await?;
        self.pending.done(number);
        self.late.add(&changes);
        Ok(())
    }
}

async fn done(store: &RedisStore, changes: &Changes) -> Result<()> {
    store.renew(&changes.marks).await?;
    store.delete(&changes.keys).await
}

#[async_trait]
impl Probe for Together {
    async fn probe(&self) -> Result<()> {
        self.store.prove().await?;
        self.settle().await?;
        // What others do to it since is not known here.
        self.alone.clear();
        Ok(())
    }
}
