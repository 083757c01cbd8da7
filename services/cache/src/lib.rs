#![doc = include_str!("../README.md")]

mod config;
pub mod domain;
mod error;
mod service;
pub mod store;
mod wire;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use mingle_proto::cache::v1::cache_service_server::{CacheServiceServer, SERVICE_NAME};
use mingle_runtime::{Bound, Context, Role, grpc::Routes, health::Health};
use mingle_store::{
    breaker::Breaker,
    bus::{Bus, Memory as Within},
    clock::Clock,
    redis::Redis,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use service::{Core, Service};
use store::{Keeper, memory::Memory, redis::RedisStore};

/// What a start waits for the first connection to Redis.
const FIRST: Duration = Duration::from_secs(1);

/// Binds the role: configuration, store, service, probes, background tasks, server.
/// Keeps values in memory by `clock` where there is no Redis; where there is, the
/// instances tell each other by the bus what changes.
pub async fn bind(
    ctx: Context,
    clock: Arc<dyn Clock>,
    redis: Option<(Redis, Arc<dyn Bus>)>,
) -> anyhow::Result<Bound> {
    let config: Config = ctx.config.read().context("cache")?;
    let namespaces = config.namespaces();
    let memory = Memory::new(clock.clone(), config.memory_bytes);
    let (keeper, bus, data) = match redis {
        Some((redis, bus)) => {
            let redis = redis.with_timeout(Duration::from_millis(config.timeout_ms));
            // A start is no outage, and callers come as soon as the process listens.
            if timeout(FIRST, redis.connected()).await.is_err() {
                tracing::warn!("started without redis");
            }
            let data = redis.fence();
            let store = RedisStore::new(redis);
            (Keeper::start(memory, store, &ctx.tasks, ctx.stop.clone()), bus, Some(data))
        }
        None => {
            let within: Arc<dyn Bus> = Arc::new(Within::new());
            (Keeper::alone(memory), within, None)
        }
    };
    if let Some(breaker) = keeper.breaker().cloned() {
        ctx.tasks.spawn(tell(breaker, ctx.health.clone(), ctx.stop.clone()));
    }
    let core = Core::new(keeper, namespaces, bus, clock);
    ctx.tasks.spawn(core.clone().follow(data, ctx.stop.clone()));
    ctx.tasks.spawn(core.clone().beat(ctx.stop.clone()));
    ctx.tasks.spawn(core.clone().sweep(ctx.stop.clone()));
    ctx.health.set_service(SERVICE_NAME, true).await;
    let server = CacheServiceServer::new(Service::new(core, ctx.tasks.clone()));
    Ok(Bound::grpc(Role::Cache, Routes::new(server)))
}

/// Keeps the health of the process true about the breaker.
async fn tell(breaker: Arc<Breaker>, health: Health, stop: CancellationToken) {
    let mut changes = breaker.changes();
    loop {
        health.set_degraded("cache", *changes.borrow_and_update());
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}
