//! Values that are treated alike.

use std::{collections::BTreeMap, sync::Arc};

/// How long values of one kind live, and how large they may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// As callers name it.
    pub name: Arc<str>,
    /// For how long a value is fresh.
    pub soft_us: u64,
    /// For how long it is served at all.
    pub hard_us: u64,
    /// For how long a caller may have one served.
    pub longest_us: u64,
    /// By how much of both a value may end earlier, of 1.
    pub jitter: f64,
    /// How long a loader has.
    pub lease_us: u64,
    /// How much earlier than its soft end a value is loaded anew, in times of what
    /// its load took: the beta of XFetch; 0: never earlier.
    pub early: f64,
    /// For how long absence is fresh, and served; 0: it is not kept.
    pub absent_us: u64,
    /// For how long a value is served on when it could not be loaded.
    pub throttle_us: u64,
    /// Bytes that a value may have.
    pub max_value: usize,
    /// Bytes from which on it is kept compressed, where that makes it smaller.
    pub compress_from: usize,
    /// Bytes of values that one process holds in its memory.
    pub local_bytes: u64,
}

/// The namespaces by name.
pub type Namespaces = BTreeMap<String, Arc<Namespace>>;

impl Namespace {
    /// One whose values end at once.
    #[cfg(test)]
    pub(crate) fn of_tests(local_bytes: u64) -> Self {
        const LARGE: usize = 1 << 20;
        Self {
            name: "of-tests".into(),
            soft_us: 1,
            hard_us: 1,
            longest_us: 1,
            jitter: 0.0,
            lease_us: 1,
            early: 0.0,
            absent_us: 0,
            throttle_us: 0,
            max_value: LARGE,
            compress_from: LARGE,
            local_bytes,
        }
    }

    /// The soft and the hard lifetime of a value, or of its absence, where the caller
    /// says nothing else; `by` of 0 to 1 is where in the jitter it falls.
    pub fn lifetime(
        &self,
        is_absent: bool,
        soft_us: Option<u64>,
        hard_us: Option<u64>,
        by: f64,
    ) -> (u64, u64) {
        let usual =
            if is_absent { (self.absent_us, self.absent_us) } else { (self.soft_us, self.hard_us) };
        let hard_us = hard_us.unwrap_or(usual.1.max(soft_us.unwrap_or(0)));
        let soft_us = soft_us.unwrap_or(usual.0).min(hard_us);
        let shortened = |us: u64| us.saturating_sub((us as f64 * self.jitter * by) as u64).max(1);
        (shortened(soft_us), shortened(hard_us))
    }

    /// For how long a version outlives its last use: longer than any value under it.
    pub fn remembered_us(&self) -> u64 {
        /// What a process may know a version for without asking.
        const KNOWN_US: u64 = 3_600_000_000;
        self.longest_us + self.lease_us + KNOWN_US
    }
}
