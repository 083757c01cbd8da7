//! The connections to Redis, on servers of their own.

mod calls;
mod cluster;
mod faults;
mod fence;
mod log;
mod refusals;
mod sentinel;
mod tls;
mod unfit;
mod unwilling;
mod upstash;
mod vitals;

use std::time::Duration;

use mingle_store::redis::{Options, Redis};
use mingle_testkit::{Redis as Server, eventually};
use tokio_util::sync::CancellationToken;

/// For what must happen at all.
const SOON: Duration = Duration::from_secs(20);
/// A call's timeout where nothing should time out, on however slow a machine.
const PATIENT: Duration = Duration::from_secs(10);

async fn connect(server: &Server) -> Redis {
    connect_with(Options { timeout: PATIENT, ..Options::new(server.root_url()) }).await
}

async fn connect_with(options: Options) -> Redis {
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    connected(&redis).await;
    redis
}

/// Waits until both slots are full: a large value goes through the second.
async fn connected(redis: &Redis) {
    eventually(SOON, "both connections", async || {
        redis.query::<String>(&small()).await.is_ok()
            && redis.query::<String>(&large()).await.is_ok()
    })
    .await;
    assert!(redis.is_connected());
}

fn small() -> redis::Cmd {
    echo("small".to_owned())
}

fn large() -> redis::Cmd {
    echo("x".repeat(20_000))
}

/// As any user may.
fn echo(text: String) -> redis::Cmd {
    redis::cmd("EVAL").arg("return ARGV[1]").arg(0).arg(text).to_owned()
}

/// Commands of this name that the server has executed.
fn executed(server: &Server, command: &str) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let head = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&head));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}
