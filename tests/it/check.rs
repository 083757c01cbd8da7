//! `mingle check`: what it finds, and that it changes nothing.

use std::time::Duration;

use mingle_testkit::{Finished, Mingle, Postgres, Redis};
use serde_json::Value;

const END: Duration = Duration::from_secs(60);

/// A step's name, state and remedy.
type Step = (String, String, String);

/// Runs it on these servers; answers its exit code and its steps.
async fn check(env: &[(&str, &str)]) -> (i32, Vec<Step>) {
    let builder = Mingle::builder().arg("check").arg("--json");
    let builder = env.iter().fold(builder, |builder, (key, value)| builder.env(key, *value));
    let Finished { status, log } = builder.run_to_end(END).await;
    eprintln!("{log}");
    let steps = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let steps = steps.enumerate().map(|(at, step)| {
        assert_eq!(step["step"], at as u64 + 1);
        assert!(step["latencyMs"].is_number());
        let text = |key: &str| step[key].as_str().unwrap().to_owned();
        (text("name"), text("state"), text("remedy"))
    });
    (status.code().unwrap(), steps.collect())
}

/// The state of a step; what is not well has a remedy.
#[track_caller]
fn state<'a>(steps: &'a [Step], name: &str) -> &'a str {
    let step = steps.iter().find(|(of, ..)| of == name);
    let (_, state, remedy) = step.unwrap_or_else(|| panic!("{name}: {steps:?}"));
    assert_eq!(!remedy.is_empty(), matches!(&**state, "warn" | "fail"), "{name}: {steps:?}");
    state
}

#[tokio::test]
async fn good_servers_are_told_good_and_left_as_they_were() {
    let (server, redis) = (Postgres::shared().await, Redis::start().await);
    let database = server.database().await;
    let (redis_url, url) = (redis.url(), database.url.clone());
    let env = [("REDIS_URL", &*redis_url), ("DATABASE_URL", &*url)];
    let (code, steps) = check(&env).await;
    assert_eq!((code, state(&steps, "tables")), (0, "warn"), "not migrated yet");
    let (_, name) = url.rsplit_once('/').unwrap();
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(server.sql(name, tables), "0");

    let migrated = Mingle::builder().arg("migrate").env("DATABASE_URL", &url).run_to_end(END).await;
    assert_eq!(migrated.status.code(), Some(0), "{}", migrated.log);
    let (code, steps) = check(&env).await;
    assert_eq!(code, 0, "{steps:?}");
    let all = ["redis", "redis memory", "redis writes", "database", "tables", "announcements"];
    assert_eq!(steps.iter().map(|(name, ..)| &**name).collect::<Vec<_>>(), all);
    for name in all {
        assert_eq!(state(&steps, name), "ok", "{name}");
    }
    assert_eq!(redis.cli(&["KEYS", "*"]), "mingle:{fence}", "what every connection writes");
    // In words, for a person.
    let builder = Mingle::builder().arg("check").env("DATABASE_URL", &url);
    let told = builder.run_to_end(END).await.log;
    assert!(told.contains("4. database         ok"), "{told}");
    assert!(told.contains("1. redis            skip"), "{told}");
}

#[tokio::test]
async fn notifications_that_no_pooler_passes_on_are_a_warning() {
    let pooler = Postgres::shared().await.pooler().await;
    let (code, steps) = check(&[("DATABASE_URL", &pooler.url)]).await;
    assert_eq!((code, state(&steps, "announcements")), (0, "warn"));
    let direct = [("DATABASE_URL", &*pooler.url), ("DATABASE_DIRECT_URL", &pooler.direct_url)];
    let (code, steps) = check(&direct).await;
    assert_eq!((code, state(&steps, "announcements")), (0, "ok"));
}

#[tokio::test]
async fn servers_that_cannot_be_used_fail_by_name() {
    let (redis, postgres) = (Redis::start().await, Postgres::start().await);
    let database = postgres.database().await;
    let (redis_url, url) = (redis.url(), database.url.clone());
    let env = [("REDIS_URL", &*redis_url), ("DATABASE_URL", &*url)];

    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]), "OK");
    let (code, steps) = check(&env).await;
    assert_eq!((code, state(&steps, "redis"), state(&steps, "redis memory")), (1, "ok", "warn"));
    assert_eq!((state(&steps, "redis writes"), state(&steps, "announcements")), ("fail", "ok"));

    redis.kill();
    postgres.kill();
    let (code, steps) = check(&env).await;
    assert_eq!((code, state(&steps, "redis"), state(&steps, "database")), (1, "fail", "fail"));
    assert_eq!((state(&steps, "redis writes"), state(&steps, "tables")), ("skip", "skip"));
}
