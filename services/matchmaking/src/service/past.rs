//! The recent past of one pool, whichever process made its matches.

use std::collections::HashMap;

use crate::domain::{Snapshot, Window, stats::WAITS_MS};

/// Rows are read again for this long: they are seen later than their time,
/// by the wait for the commit and by how far the processes' clocks differ.
const OVERLAP_MS: i64 = 3_000;

/// Matches of one pool, each counted once.
#[derive(Debug, Default)]
pub(super) struct Past {
    window: Window,
    newest: i64,
    /// What was counted and may be read again, with its time.
    seen: HashMap<String, i64>,
}

impl Past {
    /// From when on rows are to be read.
    pub(super) fn since(&mut self, now: i64) -> i64 {
        let since = self.newest - OVERLAP_MS;
        self.seen.retain(|_, at| *at > since);
        since.max(now - WAITS_MS)
    }

    /// Counts a match made at `at` whose tickets waited `waits` milliseconds.
    pub(super) fn note(&mut self, match_id: &str, at: i64, waits: impl IntoIterator<Item = i64>) {
        if at > self.newest - OVERLAP_MS && self.seen.insert(match_id.to_owned(), at).is_none() {
            self.newest = self.newest.max(at);
            self.window.record(at, waits);
        }
    }

    pub(super) fn snapshot(&mut self, now: i64) -> Snapshot {
        self.window.snapshot(now)
    }
}
