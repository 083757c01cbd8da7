#![doc = include_str!("../README.md")]

mod config;
pub mod domain;
mod error;
mod service;
pub mod store;
mod wire;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use mingle_proto::ratelimit::v1::rate_limit_service_server::{
    RateLimitServiceServer, SERVICE_NAME,
};
use mingle_runtime::health::Health;
use mingle_runtime::{Bound, Context, Role};
use mingle_store::{breaker::Breaker, clock::Clock, redis::Redis};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use service::Service;
use store::{Failover, Instance, memory::Memory, redis::RedisStore};

/// What a start waits for the first connection to Redis.
const FIRST: Duration = Duration::from_secs(1);

/// Binds the role: configuration, store, service, probes, server. Counts in
/// memory by `clock` where there is no Redis.
pub async fn bind(
    ctx: Context,
    clock: Arc<dyn Clock>,
    redis: Option<Redis>,
) -> anyhow::Result<Bound> {
    let config: Config = ctx.config.read().context("ratelimit")?;
    metrics::describe_counter!(
        "mingle_ratelimit_decisions_total",
        "checks answered, by limit and decision"
    );
    let limits = config.limits();
    let store: Arc<dyn store::Store> = match redis {
        Some(redis) => {
            let redis = redis.with_timeout(Duration::from_millis(config.timeout_ms));
            // A start is no outage, and callers come as soon as the process
            // listens.
            if timeout(FIRST, redis.connected()).await.is_err() {
                tracing::warn!("started without redis");
            }
            let together = RedisStore::new(redis, limits.clone(), config.remember_us());
            let id = ctx.node_id.to_string();
            let (limits, bounds) = (limits.clone(), config.bounds_alone());
            let instance = Instance { id, clock, limits, bounds };
            let failover = Failover::start(together, instance, &ctx.tasks, ctx.stop.clone());
            let (breaker, health) = (failover.breaker().clone(), ctx.health.clone());
            ctx.tasks.spawn(tell(breaker, health, ctx.stop.clone()));
            Arc::new(failover)
        }
        None => Arc::new(Memory::new(clock, limits.clone(), config.bounds())),
    };
    let service = Service::new(store, limits, ctx.tasks.clone());
    ctx.health.set_service(SERVICE_NAME, true).await;
    let server = RateLimitServiceServer::new(service);
    Ok(Bound::grpc(Role::Ratelimit, tonic::service::Routes::new(server)))
}

/// Keeps the health of the process true about the breaker.
async fn tell(breaker: Arc<Breaker>, health: Health, stop: CancellationToken) {
    let mut changes = breaker.changes();
    loop {
        health.set_degraded("ratelimit", *changes.borrow_and_update());
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}
