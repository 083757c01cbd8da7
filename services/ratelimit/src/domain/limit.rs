//! A limit, and what it says about a state.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    counter,
    fixed::{Fixed, Used},
    pace::{Pace, Rate},
    window::{EXACT, Log, PARTS, Window},
};

/// A wait that has no end: the cost is above what the limit ever admits.
pub const NEVER: u64 = u64::MAX;

/// The largest quota, and the largest cost that is told from others.
pub const MAX_QUOTA: u64 = 1_000_000_000;

/// What a limit guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Never more than the quota in any window of its length.
    SlidingWindow,
    /// An even pace: at most burst + quota in any window.
    Gcra,
    /// A bucket of the burst, filled at that pace: the same.
    TokenBucket,
    /// Never more than the quota between two multiples of its length: at most twice
    /// the quota in any window.
    FixedWindow,
    /// Never more than the quota held at once; what is not given back nor renewed ends
    /// after a window.
    Concurrency,
}

/// What answers when nobody can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outage {
    /// Each caller counts its own share.
    Local,
    /// All is allowed.
    Open,
    /// All is denied.
    Closed,
}

/// One limit as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name: 1 to 64 of `a-z 0-9 _ - .`.
    pub name: Arc<str>,
    /// How it counts.
    pub algorithm: Algorithm,
    /// Cost that a window admits; 0: none, of sliding and fixed windows alone.
    pub quota: u64,
    /// Length of the window.
    pub window_us: u64,
    /// gcra and token_bucket: cost admitted at once.
    pub burst: u64,
    /// What answers when nobody can count.
    pub outage: Outage,
    /// Counted and reported, never denied.
    pub shadow: bool,
    /// Processes that each count a part of it, for want of a common count; 1
    /// when it is counted as a whole.
    pub parts: u64,
}

/// The limits by name.
pub type Limits = BTreeMap<String, Arc<Limit>>;

/// Where a subject stands with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The cost is admitted.
    pub allowed: bool,
    /// Cost that would be admitted now.
    pub remaining: u64,
    /// When denied: the cost is admitted after so long if nothing else is
    /// charged, or [`NEVER`]; else 0.
    pub retry_us: u64,
    /// The limit is as if unused after so long, if nothing else is charged.
    pub reset_us: u64,
}

/// What a subject used of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Of a sliding window, and of what is held.
    Log(Log),
    /// Of gcra and of a token bucket.
    Pace(Pace),
    /// Of a fixed window.
    Used(Used),
}

/// What a charge needs to be given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Where in time it was counted.
    pub at_us: u64,
    /// Of a pace: what had been given back before it.
    pub given_us: u64,
    /// Of a pace and a fixed window: when what it was added to began.
    pub born_us: u64,
}

/// Does this with the algorithm of a limit.
macro_rules! by_algorithm {
    ($limit:expr, $counter:ident => $done:expr) => {
        match $limit.algorithm {
            // What is held is a charge until it is given back, or its window ends.
            Algorithm::SlidingWindow | Algorithm::Concurrency => {
                let $counter = &$limit.window();
                $done
            }
            Algorithm::Gcra | Algorithm::TokenBucket => {
                let $counter = &$limit.rate();
                $done
            }
            Algorithm::FixedWindow => {
                let $counter = &$limit.fixed();
                $done
            }
        }
    };
}

impl Limit {
    /// The same as one of so many processes counts it by itself.
    #[must_use]
    pub fn part_of(&self, parts: u64) -> Self {
        Self { parts: parts.max(1), ..self.clone() }
    }

    /// The quota, or this process's part of it: rounded down, and at least 1 of what
    /// is not 0.
    pub fn share(&self) -> u64 {
        (self.quota / self.parts).max(self.quota.min(1))
    }

    /// The time by which this limit counts in steps: the grain of a window,
    /// the interval of a pace.
    pub fn step_us(&self) -> u64 {
        match self.algorithm {
            Algorithm::SlidingWindow | Algorithm::Concurrency => match self.quota {
                0..=EXACT => 1,
                _ => self.window_us.div_ceil(PARTS).max(1),
            },
            Algorithm::FixedWindow => self.window_us,
            // Rounded up: rather slower than the quota says than faster.
            Algorithm::Gcra | Algorithm::TokenBucket => {
                self.window_us.div_ceil(self.share().max(1)).max(1)
            }
        }
    }

    fn window(&self) -> Window {
        Window { quota: self.share(), window_us: self.window_us, grain_us: self.step_us() }
    }

    fn fixed(&self) -> Fixed {
        Fixed { quota: self.share(), window_us: self.window_us }
    }

    fn rate(&self) -> Rate {
        Rate { interval_us: self.step_us(), burst: (self.burst / self.parts).max(1) }
    }

    /// Where `state` stands at `now_us` with `cost`; nothing changes. Cost 0 is
    /// always admitted. A state of another algorithm counts as unused.
    pub fn judge(&self, state: Option<&State>, now_us: u64, cost: u64) -> Standing {
        by_algorithm!(self, counter => counter::judge(counter, state, now_us, cost))
    }

    /// Counts `cost`, which [`judge`](Self::judge) admitted.
    pub fn charge(&self, state: Option<State>, now_us: u64, cost: u64) -> (State, Mark) {
        by_algorithm!(self, counter => counter::charge(counter, state, now_us, cost))
    }

    /// Gives a charge back as far as `state` still holds it; false when it
    /// holds nothing of it.
    pub fn refund(&self, state: &mut State, now_us: u64, cost: u64, mark: Mark) -> bool {
        by_algorithm!(self, counter => counter::refund(counter, state, now_us, cost, mark))
    }

    /// Makes `state` as if unused, and so that no charge of before is given back.
    pub fn reset(&self, state: &mut State, now_us: u64) {
        by_algorithm!(self, counter => counter::reset(counter, state, now_us));
    }

    /// When `state` is as if unused.
    pub fn ends_us(&self, state: &State) -> u64 {
        by_algorithm!(self, counter => counter::ends_us(counter, state))
    }
}
