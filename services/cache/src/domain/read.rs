//! What a caller is answered.

use std::sync::Arc;

use super::Entry;

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A fresh value.
    Hit,
    /// A stale one, which another caller loads.
    Stale,
    /// A stale one, or nearly so, and the lease.
    StaleLoad,
    /// Nothing, and the lease.
    MissLoad,
    /// Nothing; another caller loads.
    MissWait,
    /// Nothing; no lease was asked for.
    Miss,
    /// The answer is full.
    Deferred,
}

/// The right to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// What it is known by.
    pub token: u128,
    /// For how long.
    pub lasts_us: u64,
}

/// What a caller is answered.
#[derive(Clone, Debug)]
pub struct Read {
    /// What was found.
    pub outcome: Outcome,
    /// The value, of a hit and what is stale.
    pub entry: Option<Arc<Entry>>,
    /// The lease, of who loads.
    pub lease: Option<Given>,
    /// When to ask again, of who waits.
    pub retry_us: u64,
    /// The version of what is there and void.
    pub void: Option<u64>,
    /// Found in this process, for want of the others.
    pub degraded: bool,
    /// Found in the memory of this process.
    pub local: bool,
}

impl Read {
    /// Nothing was found, so far.
    pub fn nothing(outcome: Outcome) -> Self {
        let (degraded, local) = (false, false);
        Self { outcome, entry: None, lease: None, retry_us: 0, void: None, degraded, local }
    }

    /// The same, of who cannot use the value.
    #[must_use]
    pub fn without_value(self, leases: bool) -> Self {
        let outcome = match (self.lease, leases) {
            (Some(_), _) => Outcome::MissLoad,
            (None, true) => Outcome::MissWait,
            (None, false) => Outcome::Miss,
        };
        Self { outcome, entry: None, ..self }
    }

    /// What a value under a lease will be named.
    pub fn version_of(token: u128) -> u64 {
        let [high, low] = [token >> 64, token].map(|half| half as u64);
        (high ^ low).max(1)
    }
}
