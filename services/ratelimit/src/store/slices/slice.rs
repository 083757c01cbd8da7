//! What was taken at once, and its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::LIFE;
use crate::{
    domain::{Answer, Ask, Limit, Source, Standing, Verdict},
    store::{
        alone::Alone,
        denials::Denials,
        redis::{RedisStore, Taken},
    },
};

/// See the module.
pub(super) struct Slice {
    taken: Taken,
    left: AtomicU64,
    /// At its end.
    unused: AtomicU64,
    /// What was used and is counted for an outage.
    noted: AtomicU64,
    since: Instant,
    /// Where the limits stood when it was taken.
    standings: Vec<Standing>,
}

impl Slice {
    pub(super) fn new(taken: Taken, answer: &Answer) -> Self {
        let [left, unused, noted] = [taken.more, 0, 0].map(AtomicU64::new);
        Self {
            taken,
            left,
            unused,
            noted,
            since: Instant::now(),
            standings: answer.standings.clone(),
        }
    }

    /// Uses so much of it, unless it is over.
    pub(super) fn take(&self, cost: u64) -> Option<Answer> {
        if self.is_over() {
            return None;
        }
        let less = |left: u64| left.checked_sub(cost);
        let before = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        // This process may have been frozen in between: then nobody has it.
        if self.is_over() {
            return None;
        }
        let gone_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut standings = self.standings.clone();
        for standing in &mut standings {
            standing.remaining += before - cost;
            standing.reset_us = standing.reset_us.saturating_sub(gone_us);
        }
        Some(Answer { source: Source::Slice, ..Answer::new(Verdict::Allowed, standings) })
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.taken.until()
    }

    pub(super) fn holds(&self, cost: u64) -> bool {
        !self.is_over() && self.left.load(Ordering::Acquire) >= cost
    }

    /// What is left of it is nobody's any more. Answers how much.
    fn end(&self) -> u64 {
        let unused = self.left.swap(0, Ordering::AcqRel);
        self.unused.store(unused, Ordering::Release);
        unused
    }

    fn used(&self) -> u64 {
        let not = self.left.load(Ordering::Acquire) + self.unused.load(Ordering::Acquire);
        self.taken.more.saturating_sub(not)
    }

    pub(super) fn is_recent(&self) -> bool {
        Instant::now() < self.taken.until() + LIFE
    }

    /// What was used that is not counted for an outage yet, is from now on.
    pub(super) fn note(&self, ask: &Ask, alone: &Alone) {
        let used = self.used();
        let noted = self.noted.fetch_max(used, Ordering::AcqRel);
        if used > noted {
            let ask = Ask { cost: used - noted, charge_id: String::new(), ..ask.clone() };
            alone.note(&ask, &Answer::new(Verdict::Allowed, Vec::new()));
        }
    }

    /// What is used within a time, if it goes on as in its own.
    pub(super) fn used_within(&self, time: Duration) -> u64 {
        let lasted = Instant::now().min(self.taken.until()).saturating_duration_since(self.since);
        let lasted = lasted.max(Duration::from_millis(1));
        (u128::from(self.used()) * time.as_micros() / lasted.as_micros())
            .try_into()
            .unwrap_or(u64::MAX)
    }
}

/// What is done with a slice when its time is over.
pub(super) struct Ends {
    /// For whom it was taken.
    pub(super) ask: Ask,
    pub(super) slice: Arc<Slice>,
    pub(super) together: RedisStore,
    pub(super) alone: Arc<Alone>,
    pub(super) denials: Arc<Denials>,
}

impl Ends {
    /// Waits for it, or until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let Self { ask, slice, together, alone, denials } = self;
        stop.run_until_cancelled(sleep_until(slice.taken.until().into())).await;
        let unused = slice.end();
        slice.note(&ask, &alone);
        let count = |limit: &Limit, outcome: &'static str, units: u64| {
            let limit = limit.name.to_string();
            metrics::counter!(UNITS, "limit" => limit, "outcome" => outcome).increment(units);
        };
        ask.limits.iter().for_each(|limit| count(limit, "used", slice.used()));
        if unused == 0 {
            return;
        }
        let given = together.give_back_unused(&ask, &slice.taken, unused).await;
        // Also what may have been given back, and was not told.
        if !given.as_ref().is_ok_and(|given| given.iter().all(|given| !given)) {
            denials.end(&ask.subject).await;
        }
        let given = given.unwrap_or_default().into_iter().chain(std::iter::repeat(false));
        for (limit, given) in ask.limits.iter().zip(given) {
            count(limit, if given { "given_back" } else { "kept" }, unused);
        }
    }
}

const UNITS: &str = "mingle_ratelimit_slice_units_total";

/// Describes the metric.
pub(crate) fn describe() {
    metrics::describe_counter!(
        UNITS,
        "cost that was taken ahead of time, by limit and outcome: used, given_back, kept (nobody used it)"
    );
}
