//! What the instances of a role that one process knows have in common.

use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

/// The instances of each role.
const PEERS: &str = "mingle_peers";

/// See the module.
pub(super) struct Group {
    pub(super) role: &'static str,
    well: AtomicIsize,
}

impl Group {
    pub(super) fn new(role: &'static str) -> Self {
        Self { role, well: AtomicIsize::new(0) }
    }

    /// True where no more than one is not given up.
    pub(super) fn has_one_at_most(&self) -> bool {
        self.well.load(Relaxed) <= 1
    }

    /// So many more are well, and ejected.
    pub(super) fn count(&self, well: i8, ejected: i8) {
        self.well.fetch_add(well.into(), Relaxed);
        for (state, more) in [("well", well), ("ejected", ejected)] {
            metrics::gauge!(PEERS, "role" => self.role, "state" => state).increment(more);
        }
    }
}

/// Says what the metrics of this module mean.
pub(super) fn describe() {
    metrics::describe_gauge!(
        PEERS,
        "instances that this process calls, or leaves alone as ejected"
    );
}
