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
    domain::{Answer, Ask, Source, Standing, Verdict},
    store::{
        alone::Alone,
        denials::Denials,
        redis::{RedisStore, Taken},
    },
};

/// As much is taken as is used within this time.
const AHEAD: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Slice {
    taken: Taken,
    left: AtomicU64,
    /// At its end.
    unused: AtomicU64,
    since: Instant,
    /// Where the limits stood when it was taken.
    standings: Vec<Standing>,
}

impl Slice {
    pub(super) fn new(taken: Taken, answer: &Answer) -> Self {
        let (left, unused) = (AtomicU64::new(taken.more), AtomicU64::new(0));
        Self { taken, left, unused, since: Instant::now(), standings: answer.standings.clone() }
    }

    /// Uses so much of it, unless it is over.
    pub(super) fn take(&self, cost: u64) -> Option<Answer> {
        let is_over = || Instant::now() >= self.taken.until;
        if is_over() {
            return None;
        }
        let less = |left: u64| left.checked_sub(cost);
        let before = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        // This process may have been frozen in between: then nobody has it.
        if is_over() {
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
        Instant::now() < self.taken.until + LIFE
    }

    /// What is used soon, if it goes on as in its time.
    pub(super) fn soon(&self) -> u64 {
        let lasted = Instant::now().min(self.taken.until).saturating_duration_since(self.since);
        let lasted = lasted.max(Duration::from_millis(1));
        (u128::from(self.used()) * AHEAD.as_micros() / lasted.as_micros())
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
        stop.run_until_cancelled(sleep_until(slice.taken.until.into())).await;
        let unused = slice.end();
        let used = slice.used();
        if used > 0 {
            // Counted on from here, should Redis go away.
            alone.note(
                &Ask { cost: used, ..ask.clone() },
                &Answer::new(Verdict::Allowed, Vec::new()),
            );
        }
        let mut outcome = "kept";
        if unused > 0
            && together.give_back_unused(&ask, &slice.taken, unused).await.is_ok_and(|is| is)
        {
            denials.end(&ask.subject).await;
            outcome = "given_back";
        }
        for limit in &ask.limits {
            let counted = |outcome: &'static str, units: u64| {
                let limit = limit.name.to_string();
                metrics::counter!(UNITS, "limit" => limit, "outcome" => outcome).increment(units);
            };
            counted("used", used);
            counted(outcome, unused);
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
