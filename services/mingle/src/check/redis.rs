//! The steps of Redis.

use std::time::Duration;

use mingle_runtime::config::{Problems, sources};
use mingle_store::redis::{Inspected, Keeps, Redis, Unfit, Unwilling};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Asked, Found, Steps, remedy};
use crate::backends::{RedisConfig, place, redis_options};

const STEPS: &[&str] = &["redis", "redis memory", "redis persistence", "redis writes"];
const OLDEST: u32 = 7;
/// How long the first connection that may write is waited for.
const FIRST: Duration = Duration::from_secs(5);

/// The server, when it answers as one that can be used.
pub(super) async fn check(steps: Steps, asked: Asked<'_>) -> Option<Redis> {
    let mut problems = Problems::default();
    let source = sources::redis(asked.config.environment(), asked.config.mode(), &mut problems);
    let config: Option<RedisConfig> = asked.config.section(&mut problems);
    let (source, config) = match (source, config, problems.into_result()) {
        (Some(source), Some(config), Ok(())) => (source, config),
        (None, Some(_), Ok(())) => {
            steps.skip(STEPS, "REDIS_URL is not set: nothing to ask").await;
            return None;
        }
        _ => {
            steps.skip(STEPS, "see the configuration").await;
            return None;
        }
    };
    let started = Redis::start(redis_options(&source, &config), CancellationToken::new()).await;
    let mut inspected = None;
    let reached = steps.run(STEPS[0], async {
        let inspecting = async { started.as_ref().map_err(Clone::clone)?.inspect().await };
        match inspecting.await {
            Ok(said) => {
                let found = server(&said, &place(source.url.expose()));
                inspected = Some(said);
                found.map_or_else(|it| it, Found::ok)
            }
            Err(error) => Found::failed(&error, remedy::of_redis),
        }
    });
    let reached = reached.await;
    let (Some(inspected), Ok(redis), true) = (inspected, started, reached) else {
        steps.skip(&STEPS[1..], "redis cannot be used").await;
        return None;
    };
    let memory = async { eviction(inspected.eviction.as_deref(), inspected.unfit) };
    if !steps.run(STEPS[1], memory).await {
        steps.skip(&STEPS[2..], "redis cannot be used").await;
        return None;
    }
    steps.run(STEPS[2], async { persistence(inspected.keeps) }).await;
    let writes = steps.run(STEPS[3], writes(&redis, inspected.unwilling)).await;
    Some(redis).filter(|_| writes)
}

/// What answers at `place`, or why that is not what was meant.
pub(super) fn server(said: &Inspected, place: &str) -> Result<String, Found> {
    let place = if said.of_cluster { &said.server } else { place };
    let of = if said.of_cluster { ", of a cluster," } else { "" };
    let what = format!("{} {}{of} at {place}", said.product, said.version);
    let major = said.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let (what, remedy) = match (said.unfit, major) {
        (Some(Unfit::OfCluster), _) => (
            format!("{what}: a node of a cluster"),
            "write redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT",
        ),
        (Some(Unfit::NoCluster), _) => (
            format!("{what}: no node of a cluster"),
            "write redis:// for a server that is alone, or name the cluster's nodes",
        ),
        (Some(Unfit::Sentinel), _) => (
            format!("{what}: a sentinel"),
            "write redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME",
        ),
        (_, Some(major)) if major < OLDEST => (what, "Redis 7.0 or newer, or Valkey, is needed"),
        _ => return Ok(what),
    };
    Err(Found::fail(what, remedy))
}

fn eviction(policy: Option<&str>, unfit: Option<Unfit>) -> Found {
    let remedy = "set maxmemory-policy to noeviction: without memory Mingle does without Redis";
    match policy {
        None => Found::ok("maxmemory-policy is not told"),
        Some("noeviction") => Found::ok("maxmemory-policy noeviction"),
        Some(other) if unfit == Some(Unfit::Evicts) => Found::fail(
            format!("maxmemory-policy {other}: limits and presence may be evicted, it is not used"),
            remedy,
        ),
        Some(other) => {
            Found::warn(format!("maxmemory-policy {other}, as yet without maxmemory"), remedy)
        }
    }
}

/// No fact is in Redis alone, so that none of these is worse than slow.
fn persistence(keeps: Option<Keeps>) -> Found {
    Found::ok(match keeps {
        None => "what it keeps over its restart is not told",
        Some(Keeps::Writes) => "append-only file: counts and presence survive its restart",
        Some(Keeps::Snapshots) => "snapshots: its restart sets counts and presence back",
        Some(Keeps::Nothing) => {
            "nothing is kept over its restart: limits count anew then, the rest is rebuilt"
        }
    })
}

/// A connection that is there has passed the fence, which writes and reads: no key
/// of our own is set to prove it.
async fn writes(redis: &Redis, unwilling: Option<Unwilling>) -> Found {
    if timeout(FIRST, redis.connected()).await.is_ok() {
        return Found::ok("mingle:{fence} was written and read back, as by every connection");
    }
    let (why, remedy) = match unwilling {
        Some(Unwilling::Replica) => ("it is a replica", "point REDIS_URL at its primary"),
        Some(Unwilling::Memory) => ("its memory is used up", "raise maxmemory, or free some"),
        Some(Unwilling::Saving) => {
            ("it could not save its data", "see its log: a full disk, or no leave to write there")
        }
        None => (
            "it does not tell why",
            "give the user what deploy/redis/users.acl gives it; ACL LOG tells what was refused",
        ),
    };
    Found::fail(format!("answers, and takes no writes within 5 s: {why}"), remedy)
}
