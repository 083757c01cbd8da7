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
use mingle_runtime::{Bound, Context, Role};
use mingle_store::{clock::Clock, redis::Redis};

pub use config::Config;
use service::Service;

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
    let limits = config.limits();
    let store: Arc<dyn store::Store> = match redis {
        Some(redis) => {
            let redis = redis.with_timeout(Duration::from_millis(config.timeout_ms));
            connected(&redis).await;
            let remember_us = config.remember_us();
            Arc::new(store::redis::RedisStore::new(redis, limits.clone(), remember_us))
        }
        None => Arc::new(store::memory::Memory::new(clock, limits.clone(), config.bounds())),
    };
    let service = Service::new(store, limits, ctx.health.clone());
    ctx.health.set_service(SERVICE_NAME, true).await;
    let server = RateLimitServiceServer::new(service);
    Ok(Bound::grpc(Role::Ratelimit, tonic::service::Routes::new(server)))
}

/// Waits a little for the first connection: a start is no outage, and callers
/// come as soon as the process listens.
async fn connected(redis: &Redis) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let connected = async {
        while !redis.is_connected() {
            looks.tick().await;
        }
    };
    if tokio::time::timeout(FIRST, connected).await.is_err() {
        tracing::warn!("started without redis");
    }
}
