//! How long things took.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;

use crate::report::{Report, Side};

/// Longer ones count as this long.
const LONGEST: Duration = Duration::from_secs(600);

/// Latencies, recorded by many tasks: microseconds, to three digits.
pub(crate) struct Latencies(Mutex<Histogram<u64>>);

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Mutex::new(Histogram::new_with_bounds(1, micros(LONGEST), 3)?)))
    }

    /// One more.
    pub(crate) fn record(&self, took: Duration) {
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(micros(took));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The quantile `q` in milliseconds.
    pub(crate) fn quantile_ms(&self, q: f64) -> f64 {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.value_at_quantile(q) as f64 / 1000.0
    }

    /// Adds p50 and p99 to `report`.
    pub(crate) fn report(&self, report: &mut Report, side: Side, name: &str) {
        for (label, q) in [("p50", 0.5), ("p99", 0.99)] {
            report.add(&format!("{name}, {label}"), "ms", side, self.quantile_ms(q));
        }
    }
}

/// Microseconds, at least one.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latencies;

    #[test]
    fn quantiles_are_in_milliseconds_and_nothing_is_too_long() {
        let latencies = Latencies::new().unwrap();
        for ms in 1..=100 {
            latencies.record(Duration::from_millis(ms));
        }
        assert_eq!(latencies.count(), 100);
        assert!((latencies.quantile_ms(0.5) - 50.0).abs() < 0.1);
        assert!((latencies.quantile_ms(0.99) - 99.0).abs() < 0.1);
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(1_000_000));
        assert!(latencies.quantile_ms(1.0) > 599_000.0);
    }
}
