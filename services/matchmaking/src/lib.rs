#![doc = include_str!("../README.md")]

pub mod config;
pub mod domain;
pub mod error;
pub mod service;
pub mod store;
pub mod wire;

use std::{sync::Arc, time::Duration};

use mingle_proto::matchmaking::v1::matchmaking_service_server::MatchmakingServiceServer;
use mingle_runtime::{Bound, Context, Role, grpc::Routes, telemetry};
use mingle_store::Backends;

pub use config::Config;
pub use error::Error;

use service::{
    Feed, Matcher, Rooms, RowClock, Service, Sweep, charges, matcher::Parts, rooms::Limits,
};
use store::{
    Index, Tickets,
    failover::FailoverIndex,
    memory::Memory,
    redis::RedisIndex,
    sql::{SqlIndex, SqlTickets},
};

/// Binds the role: rows in the database, the index on Redis if there is one.
/// In memory it is built from the rows before the first call is answered; on
/// Redis by whoever leads the sweep, so that Redis may be away.
pub async fn bind(ctx: Context, backends: Backends) -> anyhow::Result<Bound> {
    describe();
    let (is_alone, patience) = (backends.redis.is_none(), backends.database.patience());
    let (matcher, config) = assemble(&ctx, backends).await?;
    let mut sweep = Sweep::new(matcher.clone(), &config, &ctx);
    if is_alone {
        sweep.rebuild().await?;
    }
    while let Err(error) = matcher.recall().await {
        let tell = |error: &_| tracing::warn!(%error, "the recent past is not known yet");
        patience.outlast(error, tell).await?;
    }
    let service = Service::new(matcher, Duration::from_millis(config.recheck_ms), &ctx);
    ctx.tasks.spawn(sweep.run(Duration::from_millis(config.sweep_ms), ctx.stop.clone()));
    Ok(Bound::grpc(Role::Matchmaking, Routes::new(MatchmakingServiceServer::new(service))))
}

/// What the metrics of this role mean.
fn describe() {
    metrics::describe_histogram!(
        "mingle_match_wait_seconds",
        metrics::Unit::Seconds,
        "how long matched tickets had waited"
    );
}

/// Everything but the sweep and the server: for `bind`, and for those who sweep
/// by hand.
pub async fn assemble(ctx: &Context, backends: Backends) -> anyhow::Result<(Arc<Matcher>, Config)> {
    let config: Config = ctx.config.read()?;
    let pools = config.pools();
    let tickets = SqlTickets::open(backends.database.clone()).await?;
    telemetry::observe_lane("matchmaking.tickets", tickets.backlog());
    let tickets: Arc<dyn Tickets> = Arc::new(tickets);
    let charges = charges(ctx, config.limit, backends.bus.clone());
    let feed = Feed::start(backends.bus, &ctx.tasks, ctx.stop.clone()).await?;
    let limits =
        Limits { call: Duration::from_millis(config.call_ms), max_rooms: config.max_rooms };
    let clock = Arc::new(RowClock::new(backends.clock));
    let patience = backends.database.patience();
    while let Err(error) = clock.learn(&*tickets).await {
        let tell = |error: &_| tracing::warn!(%error, "the time of the rows is not known yet");
        patience.outlast(error, tell).await?;
    }
    let rooms = Rooms::new(tickets.clone(), feed.clone(), clock.clone(), &limits, ctx);
    let index: Arc<dyn Index> = match backends.redis {
        Some(redis) => {
            let redis = Arc::new(RedisIndex::new(redis, &pools, clock.clone()));
            let rows = SqlIndex::new(backends.database, pools.clone(), clock.clone());
            Arc::new(FailoverIndex::start(redis, Arc::new(rows), ctx.stop.clone()))
        }
        None => Arc::new(Memory::new(&pools)),
    };
    let parts = Parts { tickets, index, rooms, feed, clock, charges };
    let matcher = Matcher::new(pools, parts, config.max_matches, ctx);
    Ok((matcher, config))
}
