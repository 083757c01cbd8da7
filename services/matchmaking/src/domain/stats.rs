//! How many match in a pool and how long it takes, over the recent past.

use std::collections::VecDeque;

/// How far back matches are counted.
const MATCHES_MS: i64 = 60_000;
/// How far back waits are looked at.
pub const WAITS_MS: i64 = 600_000;
/// Waits that are kept: of a busier pool, the newest.
pub const MAX_WAITS: usize = 2_048;
/// With fewer waits than this a median says nothing.
const ENOUGH: usize = 5;

/// What the recent past of a pool looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Matches made in the last minute.
    pub matches_last_minute: u64,
    /// The median wait of the tickets matched in the last ten minutes.
    pub median_wait_ms: Option<u64>,
}

/// The recent past of a pool. Bounded: matches are counted by second.
#[derive(Clone, Debug, Default)]
pub struct Window {
    matches: VecDeque<(i64, u64)>,
    waits: VecDeque<(i64, u64)>,
}

impl Window {
    /// Counts a match made at `at` whose tickets waited `waits` milliseconds.
    pub fn record(&mut self, at: i64, waits: impl IntoIterator<Item = i64>) {
        self.forget(at);
        let second = at.div_euclid(1_000);
        match self.matches.back_mut() {
            Some((last, count)) if *last >= second => *count += 1,
            _ => self.matches.push_back((second, 1)),
        }
        for wait in waits {
            self.waits.push_back((at, u64::try_from(wait).unwrap_or(0)));
        }
        while self.waits.len() > MAX_WAITS {
            self.waits.pop_front();
        }
    }

    /// What it looks like at `now`.
    pub fn snapshot(&mut self, now: i64) -> Snapshot {
        self.forget(now);
        let mut waits: Vec<u64> = self.waits.iter().map(|(_, wait)| *wait).collect();
        let middle = waits.len() / 2;
        let median_wait_ms = (waits.len() >= ENOUGH).then(|| *waits.select_nth_unstable(middle).1);
        let matches_last_minute = self.matches.iter().map(|(_, count)| count).sum();
        Snapshot { matches_last_minute, median_wait_ms }
    }

    fn forget(&mut self, now: i64) {
        let second = (now - MATCHES_MS).div_euclid(1_000);
        while self.matches.front().is_some_and(|(at, _)| *at <= second) {
            self.matches.pop_front();
        }
        while self.waits.front().is_some_and(|(at, _)| *at <= now - WAITS_MS) {
            self.waits.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn the_median_needs_five_waits_and_forgets_after_ten_minutes() {
        let mut window = Window::default();
        window.record(0, [10, 20]);
        window.record(1_000, [30, 40]);
        assert_eq!(window.snapshot(1_000).median_wait_ms, None);
        window.record(2_000, [1_000, 50]);
        let seen = window.snapshot(2_000);
        assert_eq!((seen.matches_last_minute, seen.median_wait_ms), (3, Some(40)));
        assert_eq!(window.snapshot(61_500).matches_last_minute, 1);
        assert_eq!(window.snapshot(601_000).median_wait_ms, None);
    }

    #[test]
    fn a_busy_pool_keeps_a_bounded_past() {
        let mut window = Window::default();
        for at in 0..100_000 {
            window.record(at, [5, 7]);
        }
        assert_eq!(window.waits.len(), super::MAX_WAITS);
        assert!(window.matches.len() <= 61, "{}", window.matches.len());
    }
}
