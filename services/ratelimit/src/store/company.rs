//! How many instances share the limits, by what Redis tells each beat.

use std::time::Duration;

use mingle_store::redis::Generation;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Beats without a break, on the same data, since this time.
pub(super) struct Series(Option<Generation>, Instant);

struct Known {
    nodes: u64,
    series: Option<Series>,
}

/// What is known of the others. A Redis that was away has forgotten them, and
/// they come back one by one: it is believed at once when it knows of more, and
/// when it knows of fewer only after each had the time to be back. Until then
/// the shares are rather too small than too large.
pub(super) struct Company {
    /// Within this time each instance that lives has said so.
    lost_after: Duration,
    known: Mutex<Known>,
}

impl Company {
    /// Nobody else is known.
    pub(super) fn new(lost_after: Duration) -> Self {
        Self { lost_after, known: Mutex::new(Known { nodes: 1, series: None }) }
    }

    /// A beat begins. The series so far goes with it: one that does not come
    /// back with [`Company::told`] was the last of it.
    pub(super) fn beats(&self, on: Option<Generation>) -> Series {
        let so_far = self.known.lock().series.take();
        so_far.filter(|series| series.0 == on).unwrap_or_else(|| Series(on, Instant::now()))
    }

    /// The beat succeeded, and this many live; answers how many share.
    pub(super) fn told(&self, series: Series, live: u64) -> u64 {
        let mut known = self.known.lock();
        if live >= known.nodes || series.1.elapsed() >= self.lost_after {
            known.nodes = live;
        }
        known.series = Some(series);
        known.nodes
    }
}
