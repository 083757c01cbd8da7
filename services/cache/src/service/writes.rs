//! Writes: what is shared first, then every memory.

use std::sync::Arc;

use mingle_store::Result;

use super::{core::Core, fetch::Want};
use crate::{
    domain::{Captured, Entered, Expects, Fill, Filled, Key, Load, Put, Read},
    store::Changes,
};

/// What a Set did.
pub(super) struct Stored {
    /// Of each, whether it is there.
    pub(super) stored: Vec<bool>,
    /// What each is named.
    pub(super) versions: Vec<u64>,
    pub(super) degraded: bool,
}

impl Core {
    /// Stores each, whatever is there.
    pub(super) async fn set(&self, entries: Vec<Entered>) -> Result<Stored> {
        let captured = self.capture(&entries).await;
        let put = |(entered, captured)| put(entered, captured, random_version(), Expects::Any);
        self.store(entries.into_iter().zip(captured).map(put).collect()).await
    }

    /// Stores each where nothing is; how many these were.
    pub(super) async fn warm(&self, mut entries: Vec<Entered>) -> Result<usize> {
        let wants: Vec<_> = entries.iter().map(|entered| looked_for(&entered.key)).collect();
        let mut there = self.fetch(&wants).await.into_iter().map(|found| found.answer(false));
        let mut voids = Vec::with_capacity(entries.len());
        entries.retain(|_| match there.next() {
            Some(Read { entry: None, void, .. }) => {
                voids.push(void);
                true
            }
            _ => false,
        });
        let captured = self.capture(&entries).await;
        let puts =
            entries.into_iter().zip(captured).zip(voids).map(|((entered, captured), void)| {
                put(entered, captured, random_version(), Expects::Nothing { void })
            });
        let puts: Vec<_> = puts.collect();
        if puts.is_empty() {
            return Ok(0);
        }
        let stored = self.store(puts).await?.stored;
        Ok(stored.into_iter().filter(|stored| *stored).count())
    }

    /// Stores under this version where the one that is there is the one named, or nothing
    /// is for 0.
    pub(super) async fn set_if(
        &self,
        entered: Entered,
        version: u64,
        if_version: u64,
    ) -> Result<Stored> {
        // What is void counts as nothing, and that is known only here.
        let there = self.look(&entered.key).await;
        let expects = match (if_version, there.void) {
            (0, void) => Expects::Nothing { void },
            (of, Some(void)) if of == void => {
                return Ok(Stored { stored: vec![false], versions: vec![0], degraded: false });
            }
            (of, _) => Expects::Version(of),
        };
        let captured = self.capture(std::slice::from_ref(&entered)).await;
        let puts =
            captured.into_iter().map(|captured| put(entered.clone(), captured, version, expects));
        self.store(puts.collect()).await
    }

    /// Ends a lease with what was loaded.
    pub(super) async fn fill(&self, entered: Entered, token: u128, is_failed: bool) -> Filled {
        let (key, namespace) = (entered.key.clone(), entered.key.namespace.clone());
        let load = if is_failed {
            Load::Failed { throttle_us: namespace.throttle_us }
        } else if entered.value.absent && namespace.absent_us == 0 {
            Load::Absent
        } else {
            let captured = self.capture(std::slice::from_ref(&entered)).await;
            let (soft_us, hard_us) = entered.lifetime(rand::random());
            let captured = captured.into_iter().next().unwrap_or_default();
            Load::Value { value: entered.value, captured, soft_us, hard_us }
        };
        let version = Read::version_of(token);
        let filled = self.keeper.fill(&Fill { key: key.clone(), token, version, load }).await;
        self.wake(&key).await;
        filled
    }

    /// Moves the ends of a value on; false when there is none.
    pub(super) async fn touch(&self, key: &Key) -> bool {
        let Some(entry) = self.look(key).await.entry else { return false };
        let is_absent = entry.value.absent;
        let (soft_us, hard_us) = key.namespace.lifetime(is_absent, None, None, rand::random());
        self.keeper.touch(key, entry.version, soft_us, hard_us).await
    }

    /// What is there, and no lease.
    async fn look(&self, key: &Key) -> Read {
        self.fetch_one(&looked_for(key)).await.answer(false)
    }

    async fn store(&self, puts: Vec<Put>) -> Result<Stored> {
        let stored = self.keeper.put(&puts).await?;
        for (put, _) in puts.iter().zip(&stored.value).filter(|(_, is_stored)| **is_stored) {
            let bytes = put.value.data.len() as u64;
            self.counts.add(&put.key.namespace.name, |of| of.stored_bytes.add(bytes));
        }
        let versions = puts.iter().map(|put| put.version).collect();
        // Also of what was not stored: who expected another one has read an old one.
        let keys = puts.into_iter().map(|put| put.key).collect();
        let changes = Changes { keys, marks: Vec::new() };
        let told = self.changed(changes, !stored.degraded).await;
        Ok(Stored { stored: stored.value, versions, degraded: !told })
    }
}

fn looked_for(key: &Key) -> Want {
    let (key, tags) = (key.clone(), Arc::default());
    Want { key, tags, through: true, leases: false, luck: 0.0 }
}

fn put(entered: Entered, captured: Captured, version: u64, expects: Expects) -> Put {
    let (soft_us, hard_us) = entered.lifetime(rand::random());
    let Entered { key, value, .. } = entered;
    Put { key, value, captured, version, soft_us, hard_us, expects }
}

/// 0 is that of nothing.
fn random_version() -> u64 {
    rand::random_range(1..=u64::MAX)
}
