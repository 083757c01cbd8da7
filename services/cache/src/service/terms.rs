//! A bounded memory that is forgotten at once, however much is in it.
//!
//! To free a hundred thousand values takes tens of milliseconds, in which nobody is to
//! wait: so what was put there before is not found any more from one moment to the next,
//! and freed by who has the time.

use std::{
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
};

use ahash::RandomState;
use quick_cache::{
    Equivalent, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

/// A value, and in which term it was put there.
type Dated<V> = (u64, V);

#[derive(Clone)]
struct Weighs<W>(W);

impl<K, V, W: Weighter<K, V>> Weighter<K, Dated<V>> for Weighs<W> {
    fn weight(&self, key: &K, (_, value): &Dated<V>) -> u64 {
        self.0.weight(key, value)
    }
}

/// Weight it has room for, in so many parts with a lock of their own, and of so many values
/// that have gone it is known that they were there.
pub(super) struct Bounds {
    pub(super) weight: u64,
    pub(super) items: usize,
    pub(super) parts: usize,
}

pub(super) struct Terms<K, V, W> {
    kept: Cache<K, Dated<V>, Weighs<W>, RandomState>,
    /// What was put there in another is forgotten.
    term: AtomicU64,
}

impl<K: Eq + Hash + Clone, V: Clone, W: Weighter<K, V> + Clone> Terms<K, V, W> {
    #[expect(clippy::expect_used, reason = "a build lacks nothing where both bounds are set")]
    pub(super) fn new(bounds: Bounds, weighter: W) -> Self {
        let mut options = OptionsBuilder::new();
        options.weight_capacity(bounds.weight).estimated_items_capacity(bounds.items);
        let options = options.shards(bounds.parts).build().expect("bounds");
        let (state, lifecycle) = (RandomState::new(), DefaultLifecycle::default());
        let kept = Cache::with_options(options, Weighs(weighter), state, lifecycle);
        Self { kept, term: AtomicU64::new(0) }
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let (term, value) = self.kept.get(key)?;
        (term == self.term.load(Ordering::Acquire)).then_some(value)
    }

    pub(super) fn insert(&self, key: K, value: V) {
        self.kept.insert(key, (self.term.load(Ordering::Acquire), value));
    }

    pub(super) fn remove<Q>(&self, key: &Q)
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.kept.remove(key);
    }

    /// Forgets all that is there.
    pub(super) fn forget(&self) {
        self.term.fetch_add(1, Ordering::AcqRel);
    }

    /// Frees what is forgotten, and all that is not `worth` its bytes.
    pub(super) fn sweep(&self, worth: impl Fn(&V) -> bool) {
        let now = self.term.load(Ordering::Acquire);
        // What is of a later term came while this goes on.
        let goes = |(term, value): &Dated<V>| *term < now || !worth(value);
        let names: Vec<K> =
            self.kept.iter().filter(|(_, dated)| goes(dated)).map(|(name, _)| name).collect();
        for name in names {
            // Freed when nothing is locked any more.
            drop(self.kept.remove_if(&name, goes));
        }
    }

    /// Values, and what they weigh, with those that are not freed yet.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.kept.len() as u64, self.kept.weight())
    }
}
