//! The script by itself: what Redis does when nobody stands before it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use mingle_store::redis::{Call, Options, Redis, Script};
use mingle_testkit as kit;
use tokio_util::sync::CancellationToken;

use super::asks::BATCH;
use crate::load::{Caller, Load};

/// Pipelines on their way at once.
const PIPELINES: usize = 4;
/// What one may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A sliding window of 30 in a minute, exact.
const QUOTA: u64 = 30;
const WINDOW_US: u64 = 60_000_000;

static CHECK: Script = Script::new(
    "check",
    concat!(
        include_str!("../../../../services/ratelimit/lua/count.lua"),
        include_str!("../../../../services/ratelimit/lua/check.lua")
    ),
);

#[derive(Clone)]
struct Pipeline {
    redis: Redis,
    subjects: Arc<AtomicU64>,
}

impl Caller for Pipeline {
    async fn call(&mut self) -> anyhow::Result<()> {
        let calls: Vec<_> = (0..BATCH).map(|_| self.check()).collect();
        for answer in self.redis.run_many::<Vec<i64>>(&CHECK, &calls).await? {
            ensure!(answer?.first() == Some(&1), "a new subject is denied");
        }
        Ok(())
    }
}

impl Pipeline {
    /// As the store of ratelimit asks about a subject that nobody has heard of.
    fn check(&self) -> Call {
        let tag = format!("script:{}", self.subjects.fetch_add(1, Ordering::Relaxed));
        let keys = ["1:c:charge", "1:l:limit"].map(|rest| self.redis.key(&tag, rest));
        let mut args = vec!["take".into(), 1_u64.into(), "1 limit".into()];
        args.extend([(WINDOW_US / 1_000).into(), "".into(), "S".into()]);
        args.extend([QUOTA, WINDOW_US, 1, 1].map(Into::into));
        Call { keys: keys.into(), args }
    }
}

/// Decisions a second by pipelines of as many as a batch has.
pub(super) async fn run(
    redis: &kit::Redis,
    subjects: Arc<AtomicU64>,
    time: Duration,
) -> anyhow::Result<f64> {
    let options = Options { timeout: PATIENCE, ..Options::new(redis.root_url()) };
    let stop = CancellationToken::new();
    let redis = Redis::start(options, stop.clone()).await?;
    redis.connected().await;
    let pipelines = vec![Pipeline { redis, subjects }; PIPELINES];
    let load = Load::run(pipelines, time, || Ok(Duration::ZERO)).await;
    stop.cancel();
    Ok(load?.rate() * BATCH as f64)
}
