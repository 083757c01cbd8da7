//! Who is online.
//!
//! A *session* is one client's connection as it survives reconnects; it is held
//! by a *node*, which renews one lease for all its sessions, so the cost of
//! staying online grows with nodes and not with users. Whether a session lives
//! is decided when it is read: its own end, its node's lease, and the time.

mod config;
pub mod domain;
mod error;
mod service;
pub mod store;
mod wire;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use mingle_proto::presence::v1::presence_service_server::{PresenceServiceServer, SERVICE_NAME};
use mingle_runtime::{Bound, Context, Role, grpc::Routes};
use mingle_store::Backends;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use service::Service;

/// Binds the role: configuration, store, service, background tasks, server.
pub async fn bind(ctx: Context, backends: Backends) -> anyhow::Result<Bound> {
    let config: Config = ctx.config.read().context("presence")?;
    let (terms, limits) = (config.terms(), config.limits());
    let store: Arc<dyn store::Store> = match backends.redis {
        Some(redis) => {
            let redis = store::redis::RedisStore::new(redis, terms, limits);
            Arc::new(store::known::Known::new(redis))
        }
        None => Arc::new(store::memory::Memory::new(backends.clock, terms, limits)),
    };
    let service = Service::new(store, backends.bus, &config, ctx.tasks.clone());
    let interval = Duration::from_millis(config.sweep_interval_ms);
    ctx.tasks.spawn(sweep(service.clone(), interval, ctx.stop.clone()));
    ctx.tasks.spawn(service.clone().keep_sight(ctx.stop.clone()));
    ctx.health.set_service(SERVICE_NAME, true).await;
    let server = PresenceServiceServer::new(service);
    Ok(Bound::grpc(Role::Presence, Routes::new(server)))
}

/// Sweeps until `stop`. A late sweep is not made up for: one finds all.
async fn sweep(service: Service, interval: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let result = service.sweep().await;
        match &result {
            Err(error) if !failing => tracing::warn!(%error, "presence changes are late"),
            Ok(()) if failing => tracing::info!("presence changes are on time again"),
            _ => {}
        }
        failing = result.is_err();
        if !failing && service.pause() > interval {
            ticks.reset_after(service.pause());
        }
    }
}
