//! A Redis that answers and takes nothing, out of memory and then as another's
//! replica, under pairs who talk over two gateways.

use std::{net::SocketAddr, time::Duration};

use mingle_testkit::{Deployment, Redis, eventually};
use tokio::time::Instant;

use super::{
    bystanders::meet,
    health::describe,
    pairs::{SELDOM, Talk, assert_delivered},
    plan,
};
use crate::{ledger::Ledger, world::SOON};

const PAIRS: usize = 20;
const PAUSE: Duration = Duration::from_millis(250);
/// Messages acknowledged while the server takes nothing.
const MEANWHILE: usize = 200;
/// Far above what the filler leaves.
const FILLER: &str = "16000000";

/// Every process that uses Redis says that it does, or does not, do without.
async fn until_redis_is(deployment: &Deployment, away: bool) {
    let roles = ["ratelimit", "presence", "chat", "matchmaking"];
    let all: Vec<SocketAddr> = roles.iter().flat_map(|role| deployment.grpc(role)).collect();
    for at in all {
        eventually(SOON, &format!("{at} tells that redis is away: {away}"), async || {
            describe(at).await.degraded.iter().any(|state| state == "redis") == away
        })
        .await;
    }
}

/// How often the server refused with this word.
fn refusals(redis: &Redis, word: &str) -> u64 {
    let stats = redis.cli(&["INFO", "errorstats"]);
    let head = format!("errorstat_{word}:count=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&head));
    line.map_or(0, |line| line.trim().parse().unwrap())
}

fn used_memory(redis: &Redis) -> u64 {
    let stats = redis.cli(&["INFO", "memory"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_talks_talks_on_while_redis_takes_nothing() {
    let deployment = plan().env(SELDOM.0, SELDOM.1).start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (PAIRS, PAUSE)).await;
    talk.goes_on(MEANWHILE).await;
    let (redis, other) = (deployment.redis(), Redis::start().await);

    let begin = Instant::now();
    let bound = (used_memory(redis) + 1_000_000).to_string();
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", &bound]), "OK");
    let _ = redis.cli(&["SETRANGE", "filler", FILLER, "x"]);
    until_redis_is(&deployment, true).await;
    talk.goes_on(MEANWHILE).await;
    assert!(refusals(redis, "OOM") > 0, "nothing was refused");
    assert_eq!(redis.cli(&["DEL", "filler"]), "1");
    until_redis_is(&deployment, false).await;
    meet(&deployment, 1, "memory").await;

    let port = other.port().to_string();
    assert_eq!(redis.cli(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    until_redis_is(&deployment, true).await;
    talk.goes_on(MEANWHILE).await;
    assert!(refusals(redis, "READONLY") > 0, "nothing was refused");
    assert_eq!(redis.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    until_redis_is(&deployment, false).await;
    meet(&deployment, 1, "primary").await;
    talk.goes_on(MEANWHILE).await;

    assert_delivered(&talk.end(&ledger).await, (begin, Instant::now()));
    for (role, process) in deployment.running() {
        let log = process.log();
        let defects = log.lines().filter(|line| line.contains("ERROR") || line.contains("panic"));
        assert_eq!(defects.count(), 0, "{role}: {log}");
    }
}
