//! A key's value and lease, and what becomes of them.

use std::sync::Arc;

use super::{Ask, Captured, Entry, Expects, Fill, Filled, Load, Put};

/// What is kept of one key. That of Redis is in `lua/`, in the same words.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// The value, until its hard end.
    pub entry: Option<Arc<Entry>>,
    /// Who loads.
    pub held: Option<Held>,
}

/// A lease that was given.
#[derive(Clone, Debug)]
pub struct Held {
    token: u128,
    captured: Captured,
    since_us: u64,
    until_us: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The value.
    pub seen: Option<Seen>,
    /// Who loads.
    pub lease: Lease,
}

/// A value as it stood when it was read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The value.
    pub entry: Arc<Entry>,
    /// When it was read, by the clock of the store.
    pub now_us: u64,
}

impl Seen {
    /// True before its soft end.
    pub fn is_fresh(&self) -> bool {
        self.now_us < self.entry.soft_us
    }
}

/// Who loads a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lease {
    /// Nobody, and nobody has to.
    #[default]
    None,
    /// Who asked.
    Given {
        /// For how long.
        lasts_us: u64,
    },
    /// Another one.
    Held {
        /// For how long at most.
        left_us: u64,
    },
}

impl Slot {
    /// Reads, and gives the lease to who wants it if nobody has it.
    pub fn look(&mut self, ask: &Ask, now_us: u64) -> Found {
        let entry = self
            .entry
            .clone()
            .filter(|entry| now_us < entry.hard_us && ask.void != Some(entry.version));
        let due = entry.as_ref().is_none_or(|entry| entry.is_due(now_us, ask.luck));
        let seen = entry.map(|entry| Seen { entry, now_us });
        let held = self.held.as_ref().filter(|held| now_us < held.until_us);
        let lease = match (&ask.wanted, held) {
            _ if !due => Lease::None,
            (_, Some(held)) => Lease::Held { left_us: held.until_us - now_us },
            (None, None) => Lease::None,
            (Some(wanted), None) => {
                let lasts_us = ask.key.namespace.lease_us;
                self.held = Some(Held {
                    token: wanted.token,
                    captured: wanted.captured.clone(),
                    since_us: now_us,
                    until_us: now_us + lasts_us,
                });
                Lease::Given { lasts_us }
            }
        };
        Found { seen, lease }
    }

    /// Stores, and voids the lease. False when another value is there than was
    /// expected, unless it is that of this very attempt.
    pub fn put(&mut self, put: &Put, now_us: u64) -> bool {
        let there = self.version(now_us);
        let expected = match put.expects {
            Expects::Any => true,
            Expects::Nothing { void } => there.is_none() || there == void,
            Expects::Version(version) => there == Some(version),
        };
        if !expected {
            return there == Some(put.version);
        }
        self.held = None;
        self.entry = Some(Arc::new(Entry {
            version: put.version,
            captured: put.captured.clone(),
            value: put.value.clone(),
            stored_us: now_us,
            soft_us: now_us + put.soft_us,
            hard_us: now_us + put.hard_us,
            load_us: 0,
        }));
        true
    }

    /// Ends a lease.
    pub fn fill(&mut self, fill: &Fill, now_us: u64) -> Filled {
        let there = self.version(now_us);
        let held = self.held.take_if(|held| held.token == fill.token);
        let Some(held) = held.filter(|held| now_us < held.until_us) else {
            let was_stored = there == Some(fill.version);
            return if was_stored { Filled::Stored } else { Filled::Rejected };
        };
        match &fill.load {
            Load::Value { value, captured, soft_us, hard_us } => {
                if !captured.iter().all(|one| held.captured.contains(one)) {
                    return Filled::Rejected;
                }
                self.entry = Some(Arc::new(Entry {
                    version: fill.version,
                    captured: captured.clone(),
                    value: value.clone(),
                    stored_us: now_us,
                    soft_us: now_us + soft_us,
                    hard_us: now_us + hard_us,
                    load_us: now_us - held.since_us,
                }));
                Filled::Stored
            }
            Load::Absent => {
                self.entry = None;
                Filled::Ended
            }
            Load::Failed { throttle_us } => match self.entry.as_mut().filter(|_| there.is_some()) {
                Some(entry) => {
                    let until_us = (now_us + throttle_us).max(entry.soft_us);
                    Arc::make_mut(entry).soft_us = until_us;
                    Filled::Rearmed
                }
                None => Filled::Ended,
            },
        }
    }

    /// Moves the ends of a value on; false when it is not there.
    pub fn touch(&mut self, version: u64, soft_us: u64, hard_us: u64, now_us: u64) -> bool {
        let is_there = self.version(now_us) == Some(version);
        if let Some(entry) = self.entry.as_mut().filter(|_| is_there) {
            let entry = Arc::make_mut(entry);
            (entry.soft_us, entry.hard_us) = (now_us + soft_us, now_us + hard_us);
        }
        is_there
    }

    /// When nothing of it is left.
    pub fn ends_us(&self) -> u64 {
        let entry = self.entry.as_ref().map_or(0, |entry| entry.hard_us);
        entry.max(self.held.as_ref().map_or(0, |held| held.until_us))
    }

    fn version(&self, now_us: u64) -> Option<u64> {
        let entry = self.entry.as_ref().filter(|entry| now_us < entry.hard_us);
        entry.map(|entry| entry.version)
    }
}
