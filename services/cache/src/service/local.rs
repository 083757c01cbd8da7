//! Values in the memory of this process, beside those that are shared: bounded by
//! bytes for each namespace, the least asked for go first (CLOCK-Pro).

use std::{sync::Arc, time::Duration};

use ahash::AHashMap;
use quick_cache::Weighter;
use tokio::time::Instant;

use super::{
    shards::Shards,
    terms::{Bounds, Terms},
};
use crate::domain::{Entry, Key, Namespace, Namespaces, Seen};

/// What a value costs beside its bytes: measured by `mingle-bench`.
const OVERHEAD: usize = 400;
/// What one of the usual size is counted as: of so many that have gone it is known that
/// they were there.
const USUAL: u64 = 600;
/// Parts of a memory, each with a lock of its own, at most.
const PARTS: usize = 16;
/// Of the largest values a part has room for so many,
const LARGEST: u64 = 4;
/// each with so many bytes of key and tags.
const NAMED: usize = 1024;

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

#[derive(Clone)]
struct Bytes;

impl Weighter<Arc<str>, Copy> for Bytes {
    fn weight(&self, name: &Arc<str>, copy: &Copy) -> u64 {
        (OVERHEAD + name.len() + copy.entry.size()) as u64
    }
}

pub(super) struct Local {
    kept: AHashMap<Arc<str>, Terms<Arc<str>, Copy, Bytes>>,
    shards: Shards,
}

impl Local {
    pub(super) fn new(namespaces: &Namespaces) -> Self {
        let kept = namespaces.values();
        let kept = kept.filter_map(|of| Some((of.name.clone(), Terms::new(bounds(of)?, Bytes))));
        Self { kept: kept.collect(), shards: Shards::new() }
    }

    /// What is there of it, also after its ends.
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
            kept.remove(&key.name);
        }
    }

    /// It has changed.
    pub(super) fn drop_one(&self, key: &Key) {
        self.shards.change(key);
        if let Some(kept) = self.kept.get(&key.namespace.name) {
            kept.remove(&key.name);
        }
    }

    /// Any of a namespace has.
    pub(super) fn drop_all_of(&self, namespace: &str) {
        self.shards.change_all();
        if let Some(kept) = self.kept.get(namespace) {
            kept.forget();
        }
    }

    /// What is asked for by now may be old.
    pub(super) fn doubt(&self) {
        self.shards.change_all();
    }

    /// Anything may have changed.
    pub(super) fn drop_all(&self) {
        self.shards.change_all();
        self.kept.values().for_each(Terms::forget);
    }

    /// Frees what is forgotten or past its end: nobody may ask for it again.
    pub(super) fn sweep(&self, now: Instant) {
        self.kept.values().for_each(|kept| kept.sweep(|copy| now < copy.kept_until));
    }

    /// Values of a namespace, and their bytes, with those that are not freed yet.
    pub(super) fn size(&self, namespace: &str) -> (u64, u64) {
        let kept = self.kept.get(namespace);
        kept.map_or((0, 0), Terms::size)
    }
}

/// `None` where nothing is to be kept.
fn bounds(namespace: &Namespace) -> Option<Bounds> {
    let bytes = namespace.local_bytes;
    let items = usize::try_from(bytes / USUAL).unwrap_or(usize::MAX).max(1);
    // Each part is bounded by itself, and has to have room for what is large.
    let largest = (OVERHEAD + NAMED + namespace.max_value) as u64;
    let parts = usize::try_from(bytes / (LARGEST * largest)).unwrap_or(PARTS).clamp(1, PARTS);
    // What is not a power of two would be made the next one.
    let parts = 1 << parts.ilog2();
    (bytes > 0).then_some(Bounds { weight: bytes, items, parts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Value;

    const LARGE: usize = 1 << 20;

    fn world(local_bytes: u64) -> (Local, Arc<Namespace>) {
        let namespace = Arc::new(Namespace::of_tests(local_bytes));
        let namespaces = [(namespace.name.to_string(), namespace.clone())].into();
        (Local::new(&namespaces), namespace)
    }

    fn note(local: &Local, namespace: &Arc<Namespace>, name: &str, bytes: usize) -> Key {
        let data = vec![0; bytes].into();
        let entry = Arc::new(Entry {
            version: 1,
            captured: [].into(),
            value: Value { data, absent: false, content_type: "".into() },
            stored_us: 0,
            soft_us: 1,
            hard_us: 1,
            load_us: 0,
        });
        let key = Key { namespace: namespace.clone(), name: name.into() };
        let copy = Copy::of(&Seen { entry, now_us: 0 }, Instant::now(), None);
        local.note(&key, copy, local.shards().changes(&key));
        key
    }

    #[test]
    fn a_namespace_has_no_more_than_its_bytes_and_uses_them() {
        for bytes in [64 << 10, 64 << 20] {
            let (local, namespace) = world(bytes);
            let count = bytes / OVERHEAD as u64;
            (0..count).for_each(|n| _ = note(&local, &namespace, &n.to_string(), 100));
            let (values, of_them) = local.size("of-tests");
            assert!(of_them <= bytes && of_them > bytes * 9 / 10, "{of_them} of {bytes}");
            assert!(values * OVERHEAD as u64 <= of_them);
        }
    }

    #[test]
    fn the_largest_values_have_room_beside_each_other() {
        for bytes in [5 << 20, 37 << 20, 64 << 20] {
            // Whichever of them share a part.
            for attempt in 0..100 {
                let (local, namespace) = world(bytes);
                let name = |n: u64| format!("large-{attempt}-{n}");
                let keys = (0..LARGEST).map(|n| note(&local, &namespace, &name(n), LARGE));
                let keys: Vec<_> = keys.collect();
                assert!(keys.iter().all(|key| local.get(key).is_some()), "{bytes}");
            }
        }
        let (local, namespace) = world(2 << 20);
        let one = note(&local, &namespace, "one", LARGE);
        assert!(local.get(&one).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_past_its_end_is_swept() {
        let (local, namespace) = world(1 << 20);
        let key = note(&local, &namespace, "key", 10);
        let ends = local.get(&key).unwrap().kept_until;
        local.sweep(ends - Duration::from_micros(1));
        assert!(local.get(&key).is_some());
        local.sweep(ends);
        assert_eq!(local.size("of-tests"), (0, 0));
    }

    #[test]
    fn what_is_forgotten_is_freed() {
        let (now, (local, namespace)) = (Instant::now(), world(1 << 20));
        note(&local, &namespace, "before", 10);
        local.drop_all();
        let after = note(&local, &namespace, "after", 10);
        assert_eq!(local.size("of-tests").0, 2);
        local.sweep(now);
        assert!(local.get(&after).is_some());
        assert_eq!(local.size("of-tests").0, 1);
    }

    #[test]
    fn what_changed_while_it_was_read_is_not_kept() {
        let (local, namespace) = world(1 << 20);
        let key = note(&local, &namespace, "key", 10);
        let (copy, changes) = (local.get(&key).unwrap(), local.shards().changes(&key));
        local.drop_one(&key);
        assert!(local.get(&key).is_none());
        local.note(&key, copy, changes);
        assert!(local.get(&key).is_none());
        let (key, _) = (note(&local, &namespace, "key", 10), local.drop_all());
        assert!(local.get(&key).is_none());
    }
}
