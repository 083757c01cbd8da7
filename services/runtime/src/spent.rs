//! How long a process was in each of its degraded states.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::telemetry;

/// Shown as a counter of whole seconds, up to the moment that it is asked for.
///
/// **Bounds**: the states are a fixed set of names.
#[derive(Default)]
pub(crate) struct Spent(Mutex<BTreeMap<String, Span>>);

#[derive(Default)]
struct Span {
    before: Duration,
    since: Option<Instant>,
}

impl Span {
    fn total(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Spent {
    /// Shown for as long as it is held.
    pub(crate) fn shown() -> Arc<Self> {
        let spent = Arc::<Self>::default();
        let shown = Arc::downgrade(&spent);
        telemetry::observe(move || shown.upgrade().is_some_and(|spent| spent.show()));
        spent
    }

    /// The state holds from now on, or no more.
    pub(crate) fn set(&self, state: &str, holds: bool) {
        let mut spans = self.0.lock();
        let span = spans.entry(state.to_owned()).or_default();
        span.before = span.total();
        span.since = holds.then(Instant::now);
    }

    fn show(&self) -> bool {
        for (state, span) in &*self.0.lock() {
            metrics::counter!("mingle_degraded_seconds_total", "state" => state.clone())
                .absolute(span.total().as_secs());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_comes_again_adds_up() {
        let spent = Spent::default();
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        spent.set("redis", true);
        spent.0.lock().get_mut("redis").unwrap().since = ago(5);
        spent.set("redis", true);
        spent.set("redis", false);
        spent.set("redis", false);
        assert_eq!(spent.0.lock()["redis"].total().as_secs(), 5);
        spent.set("redis", true);
        spent.0.lock().get_mut("redis").unwrap().since = ago(2);
        assert_eq!(spent.0.lock()["redis"].total().as_secs(), 7);
    }
}
