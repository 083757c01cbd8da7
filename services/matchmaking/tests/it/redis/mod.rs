//! The index on Redis, on servers of their own.

mod evicted;
mod model;
mod storm;
mod timed;

use std::{sync::Arc, time::Duration};

use mingle_matchmaking::{
    domain::pool::Pools,
    store::{Index, redis::RedisIndex},
};
use mingle_store::{
    clock::ManualClock,
    redis::{Options, Redis},
};
use mingle_testkit::{Cluster, Redis as Server, Upstash, eventually};
use tokio_util::sync::CancellationToken;

use self::timed::Timed;
use crate::world::PATIENCE;

/// An index on a server of its own, whose time is what its callers say.
pub(crate) async fn open_redis(pools: Pools) -> Arc<dyn Index> {
    let server = Server::start().await;
    let clock = Arc::new(ManualClock::default());
    let redis = connect(&server).await.with_clock(clock.clone());
    let index = RedisIndex::new(redis, &pools, clock.clone());
    Arc::new(Timed { index, clock, _server: Some(server) })
}

/// The same on the cluster that tests share.
pub(crate) async fn open_cluster(pools: Pools) -> Arc<dyn Index> {
    let (servers, prefix) = Cluster::shared().await;
    open_shared(servers.root_url(), prefix, pools).await
}

/// The same on what Upstash is, which tests share.
pub(crate) async fn open_upstash(pools: Pools) -> Arc<dyn Index> {
    let (server, prefix) = Upstash::shared().await;
    open_shared(server.url(), prefix, pools).await
}

async fn open_shared(url: String, prefix: String, pools: Pools) -> Arc<dyn Index> {
    let clock = Arc::new(ManualClock::default());
    let timeout = Duration::from_secs(10);
    let options = Options { timeout, prefix, ..Options::new(url) };
    let redis = connect_with(options).await.with_clock(clock.clone());
    let index = RedisIndex::new(redis, &pools, clock.clone());
    Arc::new(Timed { index, clock, _server: None })
}

pub(crate) async fn connect(server: &Server) -> Redis {
    // No call should time out here, on however slow a machine.
    let options = Options { timeout: Duration::from_secs(10), ..Options::new(server.url()) };
    connect_with(options).await
}

pub(crate) async fn connect_with(options: Options) -> Redis {
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    eventually(PATIENCE, "the connection", async || {
        redis.is_connected() && redis.fence().borrow().is_some()
    })
    .await;
    redis
}
