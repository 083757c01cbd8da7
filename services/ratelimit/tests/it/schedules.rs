//! Random schedules on a server of their own, by a clock that only they move.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mingle_ratelimit::domain::{Algorithm, Limit};
use mingle_store::{
    clock::{Clock as _, ManualClock},
    redis::Redis,
};
use mingle_testkit::Redis as Server;
use proptest::{
    prelude::*,
    test_runner::{TestCaseResult, TestRunner},
};
use tokio::runtime::Runtime;

use crate::world::{START, connect};

/// The end of a window.
const EDGE_MS: u64 = 5_000;

/// What a schedule is run with.
pub(crate) struct Stage {
    pub(crate) runtime: Runtime,
    pub(crate) redis: Redis,
    pub(crate) clock: Arc<ManualClock>,
    _server: Server,
}

impl Stage {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let (_server, redis) = runtime.block_on(async {
            let server = Server::start().await;
            let redis = connect(&server).await.with_clock(clock.clone());
            (server, redis)
        });
        Self { runtime, redis, clock, _server }
    }
}

/// Runs as many as this tier has; answers how many.
pub(crate) fn run<S: Strategy>(
    schedules: &S,
    act: impl Fn(&Stage, S::Value) -> TestCaseResult,
) -> usize {
    let cases = if std::env::var_os("MINGLE_SOAK").is_some() { 100_000 } else { 1_000 };
    let stage = Stage::start();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let run = TestRunner::new(config).run(schedules, |schedule| act(&stage, schedule));
    if let Err(error) = run {
        panic!("{error}");
    }
    cases as usize
}

/// Nobody was called so before.
pub(crate) fn subject() -> String {
    static SUBJECTS: AtomicU64 = AtomicU64::new(0);
    format!("subject {}", SUBJECTS.fetch_add(1, Ordering::Relaxed))
}

/// Since when a clock has kept up with the server's own.
pub(crate) struct Since(Instant);

impl Since {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// The clock goes on by what has passed: keys end by the server's own time, and what
    /// they hold must not be of use any more by then.
    pub(crate) fn keep_up(&mut self, clock: &ManualClock, limits: &[Arc<Limit>]) {
        let gone = u32::try_from(self.0.elapsed().as_millis()).unwrap_or(u32::MAX);
        if gone > 0 {
            self.0 += Duration::from_millis(gone.into());
            pass(clock, gone, limits);
        }
    }
}

/// Time passes, and does not stop within the end of a fixed window: its keys would end
/// there by the server's own time, which goes on.
pub(crate) fn pass(clock: &ManualClock, ms: u32, limits: &[Arc<Limit>]) {
    clock.advance(i64::from(ms));
    let is_near = |limit: &Arc<Limit>| {
        let window_ms = limit.window_us / 1_000;
        let gone_ms = clock.now_ms().unsigned_abs() % window_ms;
        limit.algorithm == Algorithm::FixedWindow && gone_ms > window_ms - EDGE_MS
    };
    while limits.iter().any(is_near) {
        clock.advance(EDGE_MS as i64);
    }
}
