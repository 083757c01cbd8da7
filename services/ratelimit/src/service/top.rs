//! Who is asked about most, and who is denied most.
//!
//! **Source**: Space-Saving, Metwally, Agrawal and El Abbadi, "Efficient Computation of
//! Frequent and Top-k Elements in Data Streams", ICDT 2005.

use std::time::{Duration, Instant};

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::store::known_as;

/// Subjects that are counted. Whoever has more than this part of all is among them.
const KEPT: usize = 128;
/// Counts are halved so often: what was long ago fades.
const HALVED: Duration = Duration::from_secs(60);

/// How often each subject was met, in a space that does not grow.
pub(super) struct Top(Mutex<State>);

struct State {
    counts: AHashMap<String, Count>,
    since: Instant,
}

/// How often one was met: at most this, and at least this without `error`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) times: u64,
    pub(super) error: u64,
}

impl Top {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { counts: AHashMap::new(), since: Instant::now() }))
    }

    /// Met once more.
    pub(super) fn met(&self, subject: &str) {
        let mut state = self.0.lock();
        state.fade(Instant::now());
        state.met(&known_as(subject));
    }

    /// The first so many, the most often met first.
    pub(super) fn first(&self, many: usize) -> Vec<(String, Count)> {
        let mut state = self.0.lock();
        state.fade(Instant::now());
        let mut all: Vec<_> = state.counts.iter().map(|(who, it)| (who.clone(), *it)).collect();
        all.sort_by(|(who, one), (whom, other)| (other.times, who).cmp(&(one.times, whom)));
        all.truncate(many);
        all
    }
}

impl State {
    fn met(&mut self, subject: &str) {
        if let Some(count) = self.counts.get_mut(subject) {
            count.times += 1;
            return;
        }
        let mut error = 0;
        if self.counts.len() >= KEPT {
            let least = self.counts.iter().min_by_key(|(_, count)| count.times);
            let Some((least, count)) = least.map(|(who, count)| (who.clone(), *count)) else {
                return;
            };
            self.counts.remove(&least);
            error = count.times;
        }
        self.counts.insert(subject.to_owned(), Count { times: error + 1, error });
    }

    fn fade(&mut self, now: Instant) {
        let times = now.saturating_duration_since(self.since).as_secs() / HALVED.as_secs();
        if times == 0 {
            return;
        }
        self.since = now;
        let halves = u32::try_from(times).unwrap_or(u32::MAX).min(63);
        self.counts.retain(|_, count| {
            count.times >>= halves;
            count.error >>= halves;
            count.times > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_met_often_is_found_among_many() {
        let top = Top::new();
        let mut met = AHashMap::<String, u64>::new();
        for n in 0..100_000_u64 {
            let who = match n % 10 {
                0..=2 => "hot".to_owned(),
                3 => "warm".to_owned(),
                // Each once in a while.
                _ => format!("other {}", n.wrapping_mul(2_654_435_761) % 50_000),
            };
            top.met(&who);
            *met.entry(who).or_default() += 1;
        }
        let first = top.first(2);
        assert_eq!(first.iter().map(|(who, _)| &**who).collect::<Vec<_>>(), ["hot", "warm"]);
        for (who, count) in top.first(KEPT + 1) {
            assert!(count.times >= met[&who], "{who}: {count:?} of {}", met[&who]);
            assert!(count.times - count.error <= met[&who], "{who}: {count:?} of {}", met[&who]);
        }
        assert_eq!(top.first(KEPT + 1).len(), KEPT);
    }

    #[test]
    fn what_was_long_ago_fades() {
        let mut state = State { counts: AHashMap::new(), since: Instant::now() };
        (0..5).for_each(|_| state.met("ann"));
        state.met("bob");
        state.fade(state.since + HALVED);
        assert_eq!(state.counts.len(), 1);
        assert_eq!(state.counts["ann"], Count { times: 2, error: 0 });
        state.fade(state.since + HALVED * 1_000);
        assert!(state.counts.is_empty());
    }
}
