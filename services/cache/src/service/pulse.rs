//! Whether this process hears what changes: it says a number on the topic of the
//! changes five times a second, and hears it come back behind all that was said before.
//!
//! A change that was acknowledged before a number was said has been heard when that
//! number is: so values in memory are good for [`GOOD`] after the last number that came
//! back was said, by the clock that a process cannot be frozen out of.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Between two numbers.
pub(super) const BEAT: Duration = Duration::from_millis(200);
/// For how long one that came back is good, from when it was said.
const GOOD: Duration = Duration::from_secs(1);
/// Numbers that are on their way: those of longer ago say nothing.
const MOST: usize = 8;

pub(super) struct Pulse {
    began: Instant,
    said: Mutex<VecDeque<(u64, Instant)>>,
    /// Microseconds after the begin.
    good_until: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let (said, good_until) = (Mutex::default(), AtomicU64::new(0));
        Self { began: Instant::now(), said, good_until }
    }

    /// The next number, to be said now.
    pub(super) fn next(&self) -> u64 {
        let mut said = self.said.lock();
        let number = said.back().map_or(1, |(number, _)| number + 1);
        said.push_back((number, Instant::now()));
        let beyond = said.len().saturating_sub(MOST);
        said.drain(..beyond);
        number
    }

    /// A number of this process came back.
    pub(super) fn heard(&self, number: u64) {
        let mut said = self.said.lock();
        let Some(at) = said.iter().position(|(of, _)| *of == number) else { return };
        let until = said[at].1 + GOOD - self.began;
        said.drain(..at);
        let until_us = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        self.good_until.fetch_max(until_us, Ordering::AcqRel);
    }

    /// True while what is in memory may be served.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        let now_us = u64::try_from((now - self.began).as_micros()).unwrap_or(u64::MAX);
        now_us < self.good_until.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_number_is_good_for_a_second_after_it_was_said_whenever_it_came() {
        let pulse = Pulse::new();
        assert!(!pulse.is_good(Instant::now()), "nothing was heard");
        let first = pulse.next();
        tokio::time::advance(Duration::from_millis(900)).await;
        pulse.heard(first);
        assert!(pulse.is_good(Instant::now()));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(!pulse.is_good(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_said_or_long_ago_says_nothing() {
        let pulse = Pulse::new();
        let first = pulse.next();
        pulse.heard(first + 1);
        assert!(!pulse.is_good(Instant::now()), "it was not said");
        (0..MOST).for_each(|_| _ = pulse.next());
        pulse.heard(first);
        assert!(!pulse.is_good(Instant::now()), "it is long ago");
        let (second, third) = (pulse.next(), pulse.next());
        pulse.heard(third);
        let until = Instant::now() + GOOD;
        tokio::time::advance(Duration::from_millis(1)).await;
        pulse.heard(second);
        assert!(!pulse.is_good(until), "the older one takes nothing away, and adds nothing");
    }
}
