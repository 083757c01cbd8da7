//! The script by itself: what Redis does when nobody stands before it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use mingle_ratelimit::{
    Config,
    domain::{Ask, Limit},
    store::{Store as _, redis::RedisStore},
};
use mingle_runtime::{Context, config::Section as _};
use mingle_store::redis::{Options, Redis};
use mingle_testkit as kit;
use tokio_util::sync::CancellationToken;

use super::asks::{BATCH, FEW};
use crate::load::{Caller, Load};

/// Pipelines on their way at once.
const PIPELINES: usize = 4;
/// What one may take.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Pipeline {
    store: Arc<RedisStore>,
    limit: Arc<Limit>,
    subjects: Arc<AtomicU64>,
}

impl Caller for Pipeline {
    async fn call(&mut self) -> anyhow::Result<()> {
        let ask = |_| {
            let number = self.subjects.fetch_add(1, Ordering::Relaxed).to_string();
            let (subject, limits) = (format!("script {number}"), vec![self.limit.clone()]);
            Ask { subject, charge_id: number, is_new: true, cost: 1, limits }
        };
        let asks: Vec<_> = (0..BATCH).map(ask).collect();
        for answer in self.store.check(&asks).await {
            ensure!(answer?.verdict.is_allowed(), "a new subject is denied");
        }
        Ok(())
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
    let server = Redis::start(options, stop.clone()).await?;
    server.connected().await;
    let config: Config = Context::for_test(&[Config::DEFAULTS], "").config.read()?;
    let limit = config.limits()[FEW].clone();
    let store = Arc::new(RedisStore::new(server, config.bounds().remember_us));
    let pipeline = Pipeline { store, limit, subjects };
    let load = Load::run(vec![pipeline; PIPELINES], time, || Ok(Duration::ZERO)).await;
    stop.cancel();
    Ok(load?.rate() * BATCH as f64)
}
