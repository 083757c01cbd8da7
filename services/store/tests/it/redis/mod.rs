//! The connections to Redis, on servers of their own.

mod calls;

use std::time::Duration;

use mingle_store::redis::{Options, Redis};
use mingle_testkit::{Redis as Server, eventually};
use tokio_util::sync::CancellationToken;

/// For what must happen at all; what must happen soon is measured by itself.
const SOON: Duration = Duration::from_secs(20);

async fn connect(server: &Server) -> Redis {
    connect_with(Options::new(server.url())).await
}

async fn connect_with(options: Options) -> Redis {
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    connected(&redis).await;
    redis
}

async fn connected(redis: &Redis) {
    eventually(SOON, "a connection", async || redis.is_connected()).await;
}
