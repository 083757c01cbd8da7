#![doc = include_str!("../README.md")]

pub mod config;
pub mod domain;
pub mod error;
pub mod fanout;
pub mod service;
pub mod store;
pub mod wire;

use std::{sync::Arc, time::Duration};

use mingle_proto::chat::v1::chat_service_server::ChatServiceServer;
use mingle_runtime::{Bound, Context, Role, grpc::Routes, telemetry};
use mingle_store::Backends;

pub use config::Config;

use crate::{
    fanout::{Board, Bounds, Hub, Settings},
    service::{Chat, Pages, Sweep, charges, sweep},
    store::{Options, SqlStore, Store},
};

/// Binds chat: configuration, store, service, background tasks, server.
pub async fn bind(ctx: Context, backends: Backends) -> anyhow::Result<Bound> {
    let config: Config = ctx.config.read()?;
    describe();

    let Backends { database, bus, clock, .. } = backends;
    let charges = charges(&ctx, config.limit, bus.clone());
    let board = Board::start(bus, clock.clone(), &ctx.tasks);
    let options = Options { append_batch: config.append_batch, max_members: config.max_members };
    let store = SqlStore::open(database, clock.clone(), Arc::new(board.clone()), options).await?;
    telemetry::observe_lane("chat.append", store.backlog());
    let store: Arc<dyn Store> = Arc::new(store);

    let settings = settings(&config);
    let hub = Hub::start(board, store.clone(), settings, ctx.tasks.clone(), ctx.stop.clone());
    let pages = Pages::new(ctx.peers.get(Role::Cache));
    let service = Chat::new(store.clone(), hub, charges, pages);

    ctx.tasks.spawn(sweep(store, clock, times(&config), ctx.stop.clone()));

    Ok(Bound::grpc(Role::Chat, Routes::new(ChatServiceServer::new(service))))
}

fn settings(config: &Config) -> Settings {
    Settings {
        hold: Duration::from_millis(config.hold_ms),
        heads: Duration::from_millis(config.heads_ms),
        queue: Bounds { messages: config.stream_queue_messages, bytes: config.stream_queue_bytes },
        rooms: config.stream_rooms,
    }
}

fn times(config: &Config) -> Sweep {
    Sweep {
        every: Duration::from_millis(config.sweep_ms),
        pair_idle_ms: config.pair_idle_ms,
        retention_ms: config.retention_ms(),
    }
}

/// What the metrics of this role mean.
fn describe() {
    use metrics::{describe_counter, describe_histogram};
    describe_histogram!("mingle_chat_append_items", "events that one transaction appends");
    describe_counter!(
        "mingle_chat_stream_gaps_total",
        "gaps told to streams that did not take what waited for them"
    );
    describe_counter!(
        "mingle_chat_announcements_dropped_total",
        "announcements that found their queue full: followers read the database instead"
    );
    describe_counter!(
        "mingle_chat_publish_failures_total",
        "announcements that the bus did not take: followers read the database instead"
    );
}
