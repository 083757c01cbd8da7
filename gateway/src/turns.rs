//! How much of one kind of work goes on at once.

use metrics::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};

/// So many at once; more wait, in the order they came.
///
/// Shown as a gauge with the label `state`: `working` or `waiting`.
pub(crate) struct Turns {
    room: Semaphore,
    gauge: &'static str,
}

/// Somebody's turn, until it is dropped.
pub(crate) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    _shown: Shown,
}

/// Counts in a gauge while it lives.
struct Shown(Gauge);

impl Shown {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Turns {
    /// Room for `at_once`, shown as `gauge`.
    pub(crate) fn new(at_once: usize, gauge: &'static str) -> Self {
        Self { room: Semaphore::new(at_once.min(Semaphore::MAX_PERMITS)), gauge }
    }

    /// Waits for a turn; `None` never comes: the room is never closed. Cancel
    /// safe.
    pub(crate) async fn turn(&self) -> Option<Turn<'_>> {
        let permit = match self.room.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Shown::new(metrics::gauge!(self.gauge, "state" => "waiting"));
                self.room.acquire().await.ok()?
            }
        };
        let shown = Shown::new(metrics::gauge!(self.gauge, "state" => "working"));
        Some(Turn { _permit: permit, _shown: shown })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::Turns;

    #[tokio::test]
    async fn one_more_waits_until_a_turn_ends() {
        let turns = Turns::new(2, "test");
        let first = turns.turn().await;
        let _second = turns.turn().await;
        let mut third = pin!(turns.turn());
        assert!(futures::poll!(&mut third).is_pending());
        // Who comes later does not come first.
        let mut fourth = pin!(turns.turn());
        drop(first);
        assert!(futures::poll!(&mut fourth).is_pending());
        assert!(futures::poll!(&mut third).is_ready());
    }
}
