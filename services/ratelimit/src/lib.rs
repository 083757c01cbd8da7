#![doc = include_str!("../README.md")]

mod catalogue;
mod config;
pub mod descriptors;
pub mod domain;
mod error;
mod service;
pub mod store;
mod wire;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server as envoy_server;
use mingle_proto::ratelimit::v1::rate_limit_service_server::{
    RateLimitServiceServer, SERVICE_NAME,
};
use mingle_runtime::health::Health;
use mingle_runtime::{Bound, Context, Role, grpc::Routes};
use mingle_store::{breaker::Breaker, bus::Bus, clock::Clock, redis::Redis};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use catalogue::Current;
pub use config::Config;
use service::{Envoy, Service};
use store::{Failover, Instance, memory::Memory, redis::RedisStore};

/// What a start waits for the first connection to Redis.
const FIRST: Duration = Duration::from_secs(1);

/// Binds the role: configuration, store, service, probes, server. Counts in
/// memory by `clock` where there is no Redis; where there is, the instances tell each
/// other by the bus what is given back.
pub async fn bind(
    ctx: Context,
    clock: Arc<dyn Clock>,
    redis: Option<(Redis, Arc<dyn Bus>)>,
) -> anyhow::Result<Bound> {
    let config: Config = ctx.config.read().context("ratelimit")?;
    metrics::describe_counter!(
        "mingle_ratelimit_decisions_total",
        "checks answered, by limit, decision and source: count, slice, denial, alone"
    );
    metrics::describe_counter!(
        "mingle_ratelimit_near_limit_total",
        "checks that were allowed and left a fifth of the quota or less, by limit"
    );
    catalogue::describe();
    store::describe();
    let current = Current::read(&ctx.config, &config)?;
    let store: Arc<dyn store::Store> = match redis {
        Some((redis, bus)) => {
            let redis = redis.with_timeout(Duration::from_millis(config.timeout_ms));
            // A start is no outage, and callers come as soon as the process
            // listens.
            if timeout(FIRST, redis.connected()).await.is_err() {
                tracing::warn!("started without redis");
            }
            let together = RedisStore::new(redis, config.remember_us());
            let id = ctx.node_id.to_string();
            let instance = Instance { id, clock, bus, bounds: config.bounds_alone() };
            let failover = Failover::start(together, instance, &ctx.tasks, ctx.stop.clone());
            let (breaker, health) = (failover.breaker().clone(), ctx.health.clone());
            ctx.tasks.spawn(tell(breaker, health, ctx.stop.clone()));
            Arc::new(failover)
        }
        None => Arc::new(Memory::new(clock, config.bounds())),
    };
    ctx.tasks.spawn(current.clone().follow(ctx.stop.clone()));
    let service = Service::new(store, current, ctx.tasks.clone());
    let envoy = Envoy::new(service.clone());
    for name in [SERVICE_NAME, envoy_server::SERVICE_NAME] {
        ctx.health.set_service(name, true).await;
    }
    let routes = Routes::new(RateLimitServiceServer::new(service));
    let routes = routes.add_service(envoy_server::RateLimitServiceServer::new(envoy));
    Ok(Bound::grpc(Role::Ratelimit, routes))
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
