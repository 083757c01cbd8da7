//! The step of a Redis of its own for what may be forgotten.

use mingle_runtime::config::{Problems, sources};
use mingle_store::redis::{Inspected, Redis};
use tokio_util::sync::CancellationToken;

use super::{Asked, Found, Steps, redis::server, remedy};
use crate::backends::{RedisConfig, place, redis_options};

const STEP: &str = "redis cache";

/// Whether it is one that forgets in the right way.
pub(super) async fn check(steps: Steps, asked: Asked<'_>) {
    let mut problems = Problems::default();
    let environment = asked.config.environment();
    let of_all = sources::redis(environment, asked.config.mode(), &mut problems);
    let source = sources::cache(environment, of_all.as_ref(), &mut problems);
    let config: Option<RedisConfig> = asked.config.section(&mut problems);
    let (source, config) = match (source, config, problems.into_result()) {
        (Some(source), Some(config), Ok(())) => (source, config),
        (None, Some(_), Ok(())) => {
            let why = "REDIS_CACHE_URL is not set: nothing to ask";
            return steps.skip(&[STEP], why).await;
        }
        _ => return steps.skip(&[STEP], "see the configuration").await,
    };
    let options = redis_options(&source, &config);
    let asking = async {
        let inspected = match Redis::start(options, CancellationToken::new()).await {
            Ok(redis) => redis.inspect().await,
            Err(error) => Err(error),
        };
        match inspected {
            Ok(said) => forgetting(&said, &place(source.url.expose())),
            Err(error) => Found::failed(&error, remedy::of_redis),
        }
    };
    steps.run(STEP, asking).await;
}

fn forgetting(said: &Inspected, place: &str) -> Found {
    let what = match server(said, place) {
        Ok(what) => what,
        Err(found) => return found,
    };
    let remedy = "set maxmemory, and maxmemory-policy to volatile-lfu";
    match said.eviction.as_deref() {
        None => Found::ok(format!("{what}, maxmemory-policy is not told")),
        Some("noeviction") => {
            let why = "with its memory used up nothing more is cached";
            Found::warn(format!("{what}, maxmemory-policy noeviction: {why}"), remedy)
        }
        Some(policy) if policy.starts_with("allkeys-") => {
            let why = "it may forget by what its restart is noticed, and all is loaded anew then";
            Found::warn(format!("{what}, maxmemory-policy {policy}: {why}"), remedy)
        }
        Some(policy) => Found::ok(format!("{what}, maxmemory-policy {policy}")),
    }
}
