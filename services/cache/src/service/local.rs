//! Values in the memory of this process, beside those that are shared: bounded by
//! bytes for each namespace, the least asked for go first (TinyLFU).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant as Now},
};

use moka::{Expiry, sync::Cache};
use tokio::time::Instant;

use super::shards::Shards;
use crate::domain::{Entry, Key, Namespaces, Seen};

/// What a value costs beside its bytes: measured by `mingle-bench`.
const OVERHEAD: usize = 650;

/// A value, and its ends by the clock of this process.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) entry: Arc<Entry>,
    pub(super) fresh_until: Instant,
    pub(super) kept_until: Instant,
    /// How often one of its tags had been voided; `None` when one was while it was read.
    pub(super) voided: Option<u64>,
}

impl Copy {
    /// Of what was read after `asked`: rather shorter than longer.
    pub(super) fn of(seen: &Seen, asked: Instant, voided: Option<u64>) -> Self {
        let Seen { entry, now_us } = seen;
        let until = |us: u64| asked + Duration::from_micros(us.saturating_sub(*now_us));
        Self {
            entry: entry.clone(),
            fresh_until: until(entry.soft_us),
            kept_until: until(entry.hard_us),
            voided,
        }
    }
}

/// Nothing is kept for longer.
struct HardEnd;

impl Expiry<Arc<str>, Copy> for HardEnd {
    fn expire_after_create(&self, _: &Arc<str>, copy: &Copy, _: Now) -> Option<Duration> {
        Some(copy.kept_until.saturating_duration_since(Instant::now()))
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        copy: &Copy,
        _: Now,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(copy.kept_until.saturating_duration_since(Instant::now()))
    }
}

pub(super) struct Local {
    kept: HashMap<Arc<str>, Cache<Arc<str>, Copy>>,
    shards: Shards,
}

impl Local {
    pub(super) fn new(namespaces: &Namespaces) -> Self {
        let weigh = |name: &Arc<str>, copy: &Copy| {
            u32::try_from(OVERHEAD + name.len() + copy.entry.size()).unwrap_or(u32::MAX)
        };
        let kept = namespaces.values().filter(|of| of.local_bytes > 0).map(|of| {
            let kept = Cache::builder().max_capacity(of.local_bytes).weigher(weigh);
            (of.name.clone(), kept.expire_after(HardEnd).build())
        });
        Self { kept: kept.collect(), shards: Shards::new() }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Copy> {
        self.kept.get(&key.namespace.name)?.get(&key.name)
    }

    /// Changes of a key so far, and the bell of the next one.
    pub(super) fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Keeps what was read when the key had changed so often.
    pub(super) fn note(&self, key: &Key, copy: Copy, changes: u64) {
        let Some(kept) = self.kept.get(&key.namespace.name) else { return };
        kept.insert(key.name.clone(), copy);
        if self.shards.changes(key) != changes {
            kept.invalidate(&key.name);
        }
    }

    /// It has changed.
    pub(super) fn drop_one(&self, key: &Key) {
        self.shards.change(key);
        if let Some(kept) = self.kept.get(&key.namespace.name) {
            kept.invalidate(&key.name);
        }
    }

    /// Any of a namespace has.
    pub(super) fn drop_all_of(&self, namespace: &str) {
        self.shards.change_all();
        if let Some(kept) = self.kept.get(namespace) {
            kept.invalidate_all();
        }
    }

    /// What is asked for by now may be old.
    pub(super) fn doubt(&self) {
        self.shards.change_all();
    }

    /// Anything may have changed.
    pub(super) fn drop_all(&self) {
        self.shards.change_all();
        self.kept.values().for_each(Cache::invalidate_all);
    }

    /// Values of a namespace, and their bytes.
    pub(super) fn size(&self, namespace: &str) -> (u64, u64) {
        let kept = self.kept.get(namespace);
        kept.map_or((0, 0), |kept| (kept.entry_count(), kept.weighted_size()))
    }
}
