//! Values in the memory of one process: bounded by bytes, expiry checked on read.
//!
//! At the bound those are forgotten that are asked for least (TinyLFU). A version that
//! is forgotten is born anew: what was stored under it is void.

use std::sync::Arc;

use async_trait::async_trait;
use mingle_store::{Result, clock::Clock};
use moka::{ops::compute::Op, sync::Cache};

use super::{Changes, Store};
use crate::domain::{Ask, Fill, Filled, Found, Key, Mark, Put, Slot};

/// Versions of tags that are remembered.
const MARKS: u64 = 1_000_000;
/// What a value costs beside its bytes.
const OVERHEAD: usize = 400;

/// Values in the memory of this process.
pub struct Memory {
    clock: Arc<dyn Clock>,
    slots: Cache<Key, Slot>,
    versions: Cache<Mark, u64>,
}

impl Memory {
    /// An empty store of at most so many bytes.
    pub fn new(clock: Arc<dyn Clock>, max_bytes: u64) -> Self {
        let weigh = |key: &Key, slot: &Slot| {
            let value = slot.entry.as_ref().map_or(0, |entry| entry.size());
            u32::try_from(OVERHEAD + key.name.len() + value).unwrap_or(u32::MAX)
        };
        let slots = Cache::builder().max_capacity(max_bytes).weigher(weigh).build();
        Self { clock, slots, versions: Cache::new(MARKS) }
    }

    pub(super) fn clear(&self) {
        self.slots.invalidate_all();
        self.versions.invalidate_all();
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.clock.now_us()).unwrap_or(0)
    }

    pub(super) fn look_one(&self, ask: &Ask) -> Found {
        let now_us = self.now_us();
        // Who need not be given a lease reads beside others.
        let mut slot = self.slots.get(&ask.key).unwrap_or_default();
        let found = slot.look(&Ask { wanted: None, ..ask.clone() }, now_us);
        let is_due = |found: &Found| {
            let seen = found.seen.as_ref();
            seen.is_none_or(|seen| seen.entry.is_due(now_us, ask.luck))
        };
        if ask.wanted.is_none() || !is_due(&found) {
            return found;
        }
        self.change(&ask.key, |slot| slot.look(ask, now_us))
    }

    pub(super) fn put_one(&self, put: &Put) -> bool {
        let now_us = self.now_us();
        self.change(&put.key, |slot| slot.put(put, now_us))
    }

    pub(super) fn fill_one(&self, fill: &Fill) -> Filled {
        let now_us = self.now_us();
        self.change(&fill.key, |slot| slot.fill(fill, now_us))
    }

    pub(super) fn touch_one(&self, key: &Key, version: u64, soft_us: u64, hard_us: u64) -> bool {
        let now_us = self.now_us();
        self.change(key, |slot| slot.touch(version, soft_us, hard_us, now_us))
    }

    pub(super) fn version(&self, mark: &Mark) -> u64 {
        self.versions.get_with_by_ref(mark, rand::random)
    }

    pub(super) fn void(&self, changes: &Changes) {
        changes.keys.iter().for_each(|key| self.slots.invalidate(key));
        changes.marks.iter().for_each(|mark| self.versions.insert(mark.clone(), rand::random()));
    }

    /// Changes a slot, alone.
    fn change<T: Default>(&self, key: &Key, change: impl FnOnce(&mut Slot) -> T) -> T {
        let mut changed = T::default();
        self.slots.entry_by_ref(key).and_compute_with(|slot| {
            let mut slot = slot.map(moka::Entry::into_value).unwrap_or_default();
            changed = change(&mut slot);
            let is_empty = slot.entry.is_none() && slot.held.is_none();
            if is_empty { Op::Remove } else { Op::Put(slot) }
        });
        changed
    }
}

#[async_trait]
impl Store for Memory {
    async fn look(&self, asks: &[Ask]) -> Vec<Result<Found>> {
        asks.iter().map(|ask| Ok(self.look_one(ask))).collect()
    }

    async fn put(&self, puts: &[Put]) -> Vec<Result<bool>> {
        puts.iter().map(|put| Ok(self.put_one(put))).collect()
    }

    async fn fill(&self, fill: &Fill) -> Result<Filled> {
        Ok(self.fill_one(fill))
    }

    async fn touch(&self, key: &Key, version: u64, soft_us: u64, hard_us: u64) -> Result<bool> {
        Ok(self.touch_one(key, version, soft_us, hard_us))
    }

    async fn delete(&self, keys: &[Key]) -> Result<()> {
        self.void(&Changes { keys: keys.to_vec(), marks: Vec::new() });
        Ok(())
    }

    async fn versions(&self, marks: &[Mark]) -> Result<Vec<u64>> {
        Ok(marks.iter().map(|mark| self.version(mark)).collect())
    }

    async fn renew(&self, marks: &[Mark]) -> Result<()> {
        self.void(&Changes { keys: Vec::new(), marks: marks.to_vec() });
        Ok(())
    }
}
