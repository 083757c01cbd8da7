//! A Redis that answers and takes nothing, out of memory and then as another's
//! replica, under pairs who talk over two gateways.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use mingle_client::ws::{Encoding, proto::server_frame::Kind};
use mingle_testkit::{Deployment, Redis, eventually};

use super::{health::describe, pairs, plan, urls};
use crate::{
    checker,
    ledger::Ledger,
    world::{SOON, greet, next_event},
};

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

/// Two strangers at two gateways meet.
pub(super) async fn assert_matched(deployment: &Deployment, round: usize) {
    let mut clients = Vec::new();
    for (gender, url) in ["female", "male"].iter().zip(urls(deployment)) {
        let user = format!("{gender}-{round}");
        let mut client = greet(&url, &user, Encoding::Json, None).await.unwrap();
        client.match_join("random-chat", &[("gender", gender)], &[]).await.unwrap();
        clients.push(client);
    }
    for mut client in clients {
        while !matches!(next_event(&mut client).await.unwrap(), Kind::Matched(_)) {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_talks_talks_on_while_redis_takes_nothing() {
    let deployment = plan().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let gateways = deployment.gateways();
    let gateways = [vec![gateways[0]], vec![gateways[1]]];
    let crowd = pairs::talk(&deployment, (PAIRS, PAUSE), gateways, rand::random()).await;
    let tally = crowd.tally.clone();
    let talks_on = async |why: &str| {
        let said = tally.acknowledged.load(Relaxed);
        eventually(SOON * 2, why, async || tally.acknowledged.load(Relaxed) >= said + MEANWHILE)
            .await;
    };
    talks_on("the pairs talk").await;
    let (redis, other) = (deployment.redis(), Redis::start().await);

    let bound = (used_memory(redis) + 1_000_000).to_string();
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", &bound]), "OK");
    let _ = redis.cli(&["SETRANGE", "filler", FILLER, "x"]);
    until_redis_is(&deployment, true).await;
    talks_on("the pairs talk without memory").await;
    assert!(refusals(redis, "OOM") > 0, "nothing was refused");
    assert_eq!(redis.cli(&["DEL", "filler"]), "1");
    until_redis_is(&deployment, false).await;
    assert_matched(&deployment, 0).await;

    let port = other.port().to_string();
    assert_eq!(redis.cli(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    until_redis_is(&deployment, true).await;
    talks_on("the pairs talk beside a replica").await;
    assert!(refusals(redis, "READONLY") > 0, "nothing was refused");
    assert_eq!(redis.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    until_redis_is(&deployment, false).await;
    assert_matched(&deployment, 1).await;
    talks_on("the pairs talk on").await;

    let verdict = checker::check(&crowd.end(&ledger).await, &ledger.rows().await);
    assert!(verdict.0.is_empty(), "{verdict}");
    for (role, process) in deployment.running() {
        let log = process.log();
        let defects = log.lines().filter(|line| line.contains("ERROR") || line.contains("panic"));
        assert_eq!(defects.count(), 0, "{role}: {log}");
    }
    eprintln!(
        "{} acknowledged, {} retried by users",
        tally.acknowledged.load(Relaxed),
        tally.retried.load(Relaxed)
    );
}
