//! The last minutes of what is measured, for the stats pages: a recorder of
//! metrics before the one that Prometheus reads.
//!
//! A counter and a histogram since the start of a process say little of how it
//! fares now, and buckets that are few enough for Prometheus give no quantile
//! worth the name. What is watched here is counted a second time, by
//! `hdrhistogram` to 6 % from a microsecond to a minute, in windows: the present
//! minute and the one before it.
//!
//! **Bounds**: 3 KiB for each watched histogram; as many as there are methods,
//! scripts and codes.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, OnceLock},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram as Hdr;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use parking_lot::{Mutex, RwLock};

/// What is watched.
const WATCHED: [&str; 6] = [
    "mingle_rpcs_total",
    "mingle_rpc_duration_seconds",
    "mingle_redis_seconds",
    "mingle_redis_failures_total",
    "mingle_database_begin_seconds",
    "mingle_database_commit_seconds",
];
/// One window; two are told.
const TURN: Duration = Duration::from_secs(60);
const LONGEST_US: u64 = 60_000_000;
/// Decimal digits that are kept: 16 buckets for each power of two.
const DIGITS: u8 = 1;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
static RECENT: OnceLock<Arc<Recent>> = OnceLock::new();

/// What happened lately under one name and its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lately {
    /// As metrics are named.
    pub name: String,
    /// Labels and their values.
    pub labels: Vec<(String, String)>,
    /// How often.
    pub count: u64,
    /// How long it took, where that is measured: the longest of a bucket in
    /// microseconds, and how many are in it. Empty ones are left out.
    pub buckets: Vec<(u64, u64)>,
}

impl Lately {
    /// The value of a label; empty where there is none.
    pub fn label(&self, name: &str) -> &str {
        let named = self.labels.iter().find(|(label, _)| label == name);
        named.map_or("", |(_, value)| value)
    }
}

/// All that is watched and happened lately, and how long that is.
pub fn recent() -> (Duration, Vec<Lately>) {
    let Some(recent) = RECENT.get() else { return (Duration::ZERO, Vec::new()) };
    let age = STARTED.elapsed();
    (covered(age), recent.look(turn(age)))
}

/// How far back two windows reach in a process of this age.
fn covered(age: Duration) -> Duration {
    let present = Duration::new(age.as_secs() % TURN.as_secs(), age.subsec_nanos());
    if age < TURN { age } else { TURN + present }
}

fn turn(age: Duration) -> u64 {
    age.as_secs() / TURN.as_secs()
}

/// See the module.
pub(super) struct Tap<R> {
    inner: R,
    recent: Arc<Recent>,
}

impl<R: Recorder> Tap<R> {
    /// Before `inner`, which is told everything.
    pub(super) fn before(inner: R) -> Self {
        LazyLock::force(&STARTED);
        let recent = RECENT.get_or_init(Arc::default).clone();
        Self { inner, recent }
    }
}

impl<R: Recorder> Recorder for Tap<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        if !WATCHED.contains(&key.name()) {
            return self.inner.register_counter(key, metadata);
        }
        let make = || Counted::new(self.inner.register_counter(key, metadata));
        Counter::from_arc(known(&self.recent.counters, key, make))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.inner.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        if !WATCHED.contains(&key.name()) {
            return self.inner.register_histogram(key, metadata);
        }
        let make = || Timed::new(self.inner.register_histogram(key, metadata));
        Histogram::from_arc(known(&self.recent.timings, key, make))
    }
}

type Known<T> = RwLock<HashMap<Key, Arc<T>>>;

#[derive(Default)]
struct Recent {
    counters: Known<Counted>,
    timings: Known<Timed>,
}

fn known<T>(all: &Known<T>, key: &Key, make: impl FnOnce() -> T) -> Arc<T> {
    if let Some(known) = all.read().get(key) {
        return known.clone();
    }
    all.write().entry(key.clone()).or_insert_with(|| Arc::new(make())).clone()
}

impl Recent {
    fn look(&self, turn: u64) -> Vec<Lately> {
        let mut all = Vec::new();
        for (key, counted) in &*self.counters.read() {
            let count = counted.tally.lock().at(turn).sum();
            all.push(Lately { count, ..named(key) });
        }
        for (key, timed) in &*self.timings.read() {
            let buckets = timed.windows.lock().at(turn).buckets();
            let count = buckets.iter().map(|(_, count)| count).sum();
            all.push(Lately { count, buckets, ..named(key) });
        }
        all.retain(|lately| lately.count > 0);
        all
    }
}

fn named(key: &Key) -> Lately {
    let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned()));
    Lately { name: key.name().to_owned(), labels: labels.collect(), ..Lately::default() }
}

/// A counter.
struct Counted {
    inner: Counter,
    tally: Mutex<Windows<u64>>,
}

impl Counted {
    fn new(inner: Counter) -> Self {
        Self { inner, tally: Mutex::default() }
    }
}

impl CounterFn for Counted {
    fn increment(&self, value: u64) {
        self.inner.increment(value);
        self.tally.lock().at(turn(STARTED.elapsed())).now += value;
    }

    fn absolute(&self, value: u64) {
        self.inner.absolute(value);
    }
}

/// A histogram of seconds.
struct Timed {
    inner: Histogram,
    windows: Mutex<Windows<Times>>,
}

impl Timed {
    fn new(inner: Histogram) -> Self {
        Self { inner, windows: Mutex::default() }
    }
}

impl HistogramFn for Timed {
    fn record(&self, seconds: f64) {
        self.inner.record(seconds);
        let took = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_micros();
        let took = u64::try_from(took).unwrap_or(LONGEST_US);
        self.windows.lock().at(turn(STARTED.elapsed())).now.note(took);
    }
}

/// The present window and the one before it.
#[derive(Default)]
struct Windows<T> {
    turn: u64,
    now: T,
    before: T,
}

impl<T: Window> Windows<T> {
    /// The windows at a turn; what is older is forgotten.
    fn at(&mut self, turn: u64) -> &mut Self {
        if turn > self.turn {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.forget();
            if turn > self.turn + 1 {
                self.before.forget();
            }
            self.turn = turn;
        }
        self
    }
}

impl Windows<u64> {
    fn sum(&self) -> u64 {
        self.now + self.before
    }
}

impl Windows<Times> {
    fn buckets(&self) -> Vec<(u64, u64)> {
        let mut sum = self.now.0.clone();
        // Both have the same bounds.
        let _ = sum.add(&self.before.0);
        let buckets = sum.iter_recorded();
        buckets
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_since_last_iteration()))
            .collect()
    }
}

trait Window {
    fn forget(&mut self);
}

impl Window for u64 {
    fn forget(&mut self) {
        *self = 0;
    }
}

/// How long calls took, in microseconds.
struct Times(Hdr<u32>);

impl Default for Times {
    #[expect(clippy::expect_used, reason = "the bounds are constants, and tested")]
    fn default() -> Self {
        Self(Hdr::new_with_bounds(1, LONGEST_US, DIGITS).expect("bounds of a histogram"))
    }
}

impl Times {
    fn note(&mut self, took_us: u64) {
        self.0.saturating_record(took_us);
    }
}

impl Window for Times {
    fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn two_windows_are_told_and_older_ones_forgotten() {
        let mut windows = Windows::<u64>::default();
        windows.at(0).now += 1;
        windows.at(0).now += 1;
        assert_eq!(windows.at(0).sum(), 2);
        windows.at(1).now += 5;
        assert_eq!(windows.at(1).sum(), 7);
        assert_eq!(windows.at(2).sum(), 5);
        assert_eq!(windows.at(3).sum(), 0);
        windows.at(3).now += 9;
        assert_eq!(windows.at(5).sum(), 0, "none of the two last minutes");
    }

    #[test]
    fn what_is_covered_grows_to_two_minutes() {
        let seconds = |seconds| covered(Duration::from_secs(seconds)).as_secs();
        assert_eq!([0, 59, 60, 119, 120, 190].map(seconds), [0, 59, 60, 119, 60, 70]);
        assert_eq!([0, 59, 60, 190].map(|age| turn(Duration::from_secs(age))), [0, 0, 1, 3]);
        assert_eq!(covered(MINUTE * 2 - Duration::from_millis(1)).as_secs(), 119);
    }

    #[test]
    fn times_are_kept_to_six_percent_and_the_longest_ones_counted() {
        let mut windows = Windows::<Times>::default();
        let took = [0, 1, 15, 100, 1_000, 33_333, 999_999, LONGEST_US, 10 * LONGEST_US];
        for took in took {
            windows.at(0).now.note(took);
        }
        let buckets = windows.at(1).buckets();
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), took.len() as u64);
        for took in took.into_iter().filter(|took| *took < LONGEST_US) {
            let most = took + took / 16;
            let found = buckets.iter().any(|(at, _)| (took..=most).contains(at));
            assert!(found, "{took}: {buckets:?}");
        }
        let last = buckets.last().unwrap();
        assert!(last.0 >= LONGEST_US && last.1 == 2, "{buckets:?}");
        assert!(windows.at(3).buckets().is_empty());
    }
}
