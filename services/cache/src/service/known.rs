//! Versions of tags that this process knows, for as long as it hears what changes.
//!
//! An older version than there is makes a value void that is not, or lets one pass that
//! was voided while this process could not know: so one that differs is asked for, and
//! all are forgotten when something may have been missed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use quick_cache::{Equivalent, UnitWeighter};
use tokio::time::Instant;

use super::{
    shards::Shards,
    terms::{Bounds, Terms},
};
use crate::domain::{Captured, Mark};

/// Versions that are known at once.
const MOST: usize = 200_000;
/// Each with a lock of its own.
const PARTS: usize = 16;
/// Then it is asked for again, which keeps it alive; far less than a version outlives
/// its last use.
const LONGEST: Duration = Duration::from_secs(300);

pub(super) struct Known {
    /// With when they were noted.
    versions: Terms<Mark, (u64, Instant), UnitWeighter>,
    shards: Shards,
    /// What was voided, and not what may have been.
    voided: Shards,
    /// The same of all.
    all_voided: AtomicU64,
}

/// The names of a mark that is looked for, with its hash.
#[derive(Hash)]
struct Sought<'a> {
    namespace: &'a str,
    tag: &'a str,
}

impl Equivalent<Mark> for Sought<'_> {
    fn equivalent(&self, mark: &Mark) -> bool {
        *self.tag == *mark.tag && *self.namespace == *mark.namespace.name
    }
}

/// A time before some versions were asked for.
pub(super) struct Asked(Vec<u64>);

impl Known {
    pub(super) fn new() -> Self {
        let bounds = Bounds { weight: MOST as u64, items: MOST, parts: PARTS };
        let versions = Terms::new(bounds, UnitWeighter);
        let (shards, voided) = (Shards::new(), Shards::new());
        Self { versions, shards, voided, all_voided: AtomicU64::new(0) }
    }

    pub(super) fn get(&self, namespace: &str, tag: &str, now: Instant) -> Option<u64> {
        let (version, noted) = self.versions.get(&Sought { namespace, tag })?;
        (now.duration_since(noted) < LONGEST).then_some(version)
    }

    /// True when all that was captured is as far as it is known; `None` when something
    /// of it is not known.
    pub(super) fn holds(&self, namespace: &str, captured: &Captured, now: Instant) -> Option<bool> {
        let mut holds = true;
        for (tag, version) in captured.iter() {
            holds &= self.get(namespace, tag, now)? == *version;
        }
        Some(holds)
    }

    /// How often any tag was voided.
    pub(super) fn all_voided(&self) -> u64 {
        self.all_voided.load(Ordering::Acquire)
    }

    /// How often one of these may have been voided. What is read after this, and before it
    /// has grown, was not, as far as was heard.
    pub(super) fn voided(&self, namespace: &str, captured: &Captured) -> u64 {
        let of = |tag| self.voided.changes(&Sought { namespace, tag });
        captured.iter().map(|(tag, _)| of(tag)).sum()
    }

    /// Now, before these are asked for.
    pub(super) fn asked(&self, marks: &[Mark]) -> Asked {
        Asked(marks.iter().map(|mark| self.shards.changes(mark)).collect())
    }

    /// Notes what was answered, but for what changed since it was asked for.
    pub(super) fn note(&self, marks: &[Mark], versions: &[u64], asked: &Asked) {
        for ((mark, version), changes) in marks.iter().zip(versions).zip(&asked.0) {
            self.versions.insert(mark.clone(), (*version, Instant::now()));
            if self.shards.changes(mark) != *changes {
                self.versions.remove(mark);
            }
        }
    }

    /// It was voided.
    pub(super) fn forget(&self, mark: &Mark) {
        self.all_voided.fetch_add(1, Ordering::AcqRel);
        self.voided.change(mark);
        self.shards.change(mark);
        self.versions.remove(mark);
    }

    /// What is asked for by now may be old.
    pub(super) fn doubt(&self) {
        self.shards.change_all();
    }

    /// Frees what is forgotten.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.versions.sweep(|(_, noted)| now.duration_since(*noted) < LONGEST);
    }

    /// Anything may have been voided.
    pub(super) fn forget_all(&self) {
        self.shards.change_all();
        self.versions.forget();
    }
}
