//! What is to be deleted and voided when the shared backend is back: bounded.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use crate::domain::{Key, Mark, Namespace, WHOLE};

/// Keys and tags of one namespace; beyond, all of it is voided.
const OF_ONE: usize = 10_000;

/// What was done, or is to be done, to values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Set or deleted.
    pub keys: Vec<Key>,
    /// Voided.
    pub marks: Vec<Mark>,
}

impl Changes {
    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.marks.is_empty()
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Pending {
    of: Mutex<All>,
    /// So that nobody takes the lock for nothing.
    count: AtomicUsize,
}

#[derive(Default)]
struct All {
    /// Grows with each that is added: what is added again is not done by what was
    /// begun before.
    last: u64,
    of: HashMap<Arc<str>, Of>,
}

#[derive(Default)]
struct Of {
    keys: HashMap<Key, u64>,
    marks: HashMap<Mark, u64>,
}

impl Pending {
    pub(super) fn add(&self, changes: &Changes) {
        let mut all = self.of.lock();
        all.last += 1;
        let last = all.last;
        for key in &changes.keys {
            let of = all.of.entry(key.namespace.name.clone()).or_default();
            of.keys.insert(key.clone(), last);
            of.collapse(&key.namespace, last);
        }
        for mark in &changes.marks {
            let of = all.of.entry(mark.namespace.name.clone()).or_default();
            of.marks.insert(mark.clone(), last);
            of.collapse(&mark.namespace, last);
        }
        self.count.store(all.of.len(), Ordering::Release);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Everything that is to be done by now, and a number to say it by.
    pub(super) fn all(&self) -> (Changes, u64) {
        let all = self.of.lock();
        let keys = all.of.values().flat_map(|of| of.keys.keys().cloned()).collect();
        let marks = all.of.values().flat_map(|of| of.marks.keys().cloned()).collect();
        (Changes { keys, marks }, all.last)
    }

    /// What was there at this number is done.
    pub(super) fn done(&self, number: u64) {
        let mut all = self.of.lock();
        all.of.retain(|_, of| {
            of.keys.retain(|_, added| *added > number);
            of.marks.retain(|_, added| *added > number);
            !of.keys.is_empty() || !of.marks.is_empty()
        });
        self.count.store(all.of.len(), Ordering::Release);
    }
}

impl Of {
    /// All of the namespace in place of too many, or of what is a part of it.
    fn collapse(&mut self, namespace: &Arc<Namespace>, number: u64) {
        let whole = Mark { namespace: namespace.clone(), tag: WHOLE.into() };
        if self.marks.contains_key(&whole) || self.keys.len() + self.marks.len() > OF_ONE {
            self.keys.clear();
            self.marks.clear();
            self.marks.insert(whole, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Namespace;

    fn namespace() -> Arc<Namespace> {
        let (us, bytes) = (1_000_000, 1_000);
        Arc::new(Namespace {
            name: "n".into(),
            soft_us: us,
            hard_us: us,
            longest_us: us,
            jitter: 0.0,
            lease_us: us,
            early: 0.0,
            absent_us: 0,
            throttle_us: us,
            max_value: bytes,
            compress_from: bytes,
            local_bytes: 0,
        })
    }

    fn keys(names: impl Iterator<Item = usize>) -> Changes {
        let key = |n: usize| Key { namespace: namespace(), name: n.to_string().into() };
        Changes { keys: names.map(key).collect(), marks: vec![] }
    }

    #[test]
    fn what_is_added_again_while_it_is_done_stays() {
        let pending = Pending::default();
        pending.add(&keys(0..2));
        let (all, number) = pending.all();
        assert_eq!(all.keys.len(), 2);
        pending.add(&keys(1..2));
        pending.done(number);
        assert_eq!(pending.all().0, keys(1..2));
        pending.done(pending.all().1);
        assert!(pending.is_empty() && pending.all().0.is_empty());
    }

    #[test]
    fn too_many_are_all_of_the_namespace_and_so_is_what_comes_then() {
        let pending = Pending::default();
        pending.add(&keys(0..OF_ONE));
        assert_eq!(pending.all().0.keys.len(), OF_ONE);
        pending.add(&keys(OF_ONE..3 * OF_ONE));
        pending.add(&keys(0..1));
        let whole = Mark { namespace: namespace(), tag: WHOLE.into() };
        assert_eq!(pending.all().0, Changes { keys: vec![], marks: vec![whole] });
    }
}
