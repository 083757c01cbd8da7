//! Time as a parameter, so that tests own it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::Result;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00:00Z. May stand still or jump back
    /// with the machine's clock: never derive order from it.
    fn now_ms(&self) -> i64;

    /// Microseconds since then, where so much is known: what ends a time after it began
    /// ends up to a millisecond early by whole ones.
    fn now_us(&self) -> i64 {
        self.now_ms().saturating_mul(1_000)
    }
}

/// How far another clock is from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// Milliseconds that it is ahead; behind, below zero.
    pub ahead_ms: i64,
    /// By how much that may be wrong: half of what the answer took.
    pub within_ms: i64,
}

impl Skew {
    /// Compares `clock` with the time that `asking` answers, which was told between
    /// its begin and its end.
    pub async fn measure(
        clock: &dyn Clock,
        asking: impl Future<Output = Result<i64>>,
    ) -> Result<Self> {
        let (before, begin) = (clock.now_ms(), Instant::now());
        let theirs = asking.await?;
        let took = i64::try_from(begin.elapsed().as_millis()).unwrap_or(i64::MAX);
        let within_ms = took / 2 + took % 2;
        let ours = before.saturating_add(took / 2);
        Ok(Self { ahead_ms: theirs.saturating_sub(ours), within_ms })
    }

    /// True when the two differ by more than `ms`, however long the answer took.
    pub fn exceeds(self, ms: i64) -> bool {
        self.ahead_ms.saturating_abs().saturating_sub(self.within_ms) > ms
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1_000)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now_us(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        }
    }
}

/// A clock that moves when told.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `now_ms`.
    pub const fn at(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    /// Moves on by `ms`, or back.
    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ManualClock, Skew};

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_no_skew() {
        let clock = ManualClock::at(1_000_000);
        let asking = |theirs| async move {
            tokio::time::advance(Duration::from_secs(4)).await;
            Ok(theirs)
        };
        let skew = Skew::measure(&clock, asking(1_000_500)).await.unwrap();
        assert_eq!(skew, Skew { ahead_ms: -1_500, within_ms: 2_000 });
        assert!(!skew.exceeds(1_000), "it may have been told at once");
        for theirs in [1_000_000 - 3_000, 1_000_000 + 7_000] {
            let skew = Skew::measure(&clock, asking(theirs)).await.unwrap();
            assert!(skew.exceeds(1_000), "{skew:?}");
        }
    }
}
