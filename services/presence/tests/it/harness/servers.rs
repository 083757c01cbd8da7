//! Connections to a Redis of the test's own.

use std::time::Duration;

use mingle_store::redis::{Options, Redis};
use mingle_testkit::{Redis as Server, eventually};
use tokio_util::sync::CancellationToken;

/// For what must happen at all.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// A call's timeout where nothing should time out, on however slow a machine.
const PATIENT: Duration = Duration::from_secs(10);

/// A connection as each process has it.
pub(crate) async fn connect(server: &Server) -> Redis {
    connect_within(server, PATIENT).await
}

/// The same; calls may take `timeout`.
pub(crate) async fn connect_within(server: &Server, timeout: Duration) -> Redis {
    connect_by(Options { timeout, ..Options::new(server.url()) }).await
}

/// The same by another URL.
pub(crate) async fn connect_with(options: Options) -> Redis {
    connect_by(Options { timeout: PATIENT, ..options }).await
}

async fn connect_by(options: Options) -> Redis {
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    connected(&redis).await;
    redis
}

/// Waits until both connections serve: a large value goes through the second.
pub(crate) async fn connected(redis: &Redis) {
    let get = |len: usize| redis::cmd("GET").arg(redis.key("x", "x".repeat(len))).to_owned();
    redis.connected().await;
    eventually(SOON, "both connections", async || {
        redis.query::<Option<String>>(&get(1)).await.is_ok()
            && redis.query::<Option<String>>(&get(20_000)).await.is_ok()
    })
    .await;
}
