//! The steps of Redis.

use std::time::Duration;

use mingle_runtime::config::sources;
use mingle_store::redis::{Inspected, Redis, Unwilling};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Found, Report, State, remedy};
use crate::backends::{RedisConfig, place, redis_options};

pub(super) const STEPS: &[&str] = &["redis", "redis memory", "redis writes"];
const OLDEST: u32 = 7;
/// How long the first connection that may write is waited for.
const FIRST: Duration = Duration::from_secs(5);

pub(super) async fn check(report: &mut Report, source: &sources::Redis, config: &RedisConfig) {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let redis = Redis::start(redis_options(source, config), stop).await;
    let mut inspected = None;
    let reached = report.step(STEPS[0], async {
        let redis = match &redis {
            Ok(redis) => redis,
            Err(error) => return Found::failed(error, remedy::of_redis),
        };
        match redis.inspect().await {
            Ok(said) => {
                let found = version(&said, &place(source.url.expose()));
                inspected = Some(said);
                found
            }
            Err(error) => Found::failed(&error, remedy::of_redis),
        }
    });
    let reached = reached.await;
    let (Some(inspected), Ok(redis), true) = (inspected, redis, reached) else {
        return report.skip(&STEPS[1..], "redis cannot be used");
    };
    report.step(STEPS[1], async { eviction(inspected.eviction.as_deref()) }).await;
    report.step(STEPS[2], writes(&redis, inspected.unwilling)).await;
}

fn version(said: &Inspected, place: &str) -> Found {
    let what = format!("version {} at {place}", said.version);
    let major = said.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major < OLDEST => {
            Found::new(State::Fail, what, "Redis 7.0 or newer, or Valkey, is needed")
        }
        _ => Found::ok(what),
    }
}

fn eviction(policy: Option<&str>) -> Found {
    match policy {
        None => Found::ok("maxmemory-policy is not told"),
        Some("noeviction") => Found::ok("maxmemory-policy noeviction"),
        Some(other) => Found::new(
            State::Warn,
            format!("maxmemory-policy {other}: limits and presence may be evicted"),
            "set maxmemory-policy to noeviction; without memory Mingle does without Redis",
        ),
    }
}

/// A connection that is there has passed the fence, which writes.
async fn writes(redis: &Redis, unwilling: Option<Unwilling>) -> Found {
    if timeout(FIRST, redis.connected()).await.is_ok() {
        return Found::ok("takes writes");
    }
    let (why, remedy) = match unwilling {
        Some(Unwilling::Replica) => ("it is a replica", "point REDIS_URL at its primary"),
        Some(Unwilling::Memory) => ("its memory is used up", "raise maxmemory, or free some"),
        Some(Unwilling::Saving) => {
            ("it could not save its data", "see its log: a full disk, or no leave to write there")
        }
        None => (
            "it does not tell why",
            "give the user leave for ~mingle:* &mingle:* +@all; INFO errorstats tells what it refused",
        ),
    };
    Found::new(State::Fail, format!("answers, and takes no writes within 5 s: {why}"), remedy)
}
