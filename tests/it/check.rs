//! `mingle check`: what it finds, and that it changes nothing.

use std::time::Duration;

use mingle_testkit::{
    Builder, Certificates, Cluster, Finished, Mingle, Postgres, Redis, free_port,
};
use serde_json::Value;

use crate::world::SECRET;

const END: Duration = Duration::from_secs(60);

/// What a step said.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    state: String,
    pub(crate) found: String,
    pub(crate) remedy: String,
}

/// Runs it on these servers for a process of all roles; answers its exit code and
/// its steps.
async fn check(env: &[(&str, &str)]) -> (i32, Vec<Step>) {
    check_of(&[], env).await
}

pub(crate) async fn check_of(roles: &[&str], env: &[(&str, &str)]) -> (i32, Vec<Step>) {
    check_by(Mingle::builder(), roles, env).await
}

pub(crate) async fn check_by(
    builder: Builder,
    roles: &[&str],
    env: &[(&str, &str)],
) -> (i32, Vec<Step>) {
    let builder = builder.arg("check").arg("--json");
    let builder = roles.iter().fold(builder, |builder, role| builder.arg(*role));
    let builder = builder.env("MINGLE_JWT_SECRET", SECRET).env("MINGLE_SESSION_SECRET", SECRET);
    let builder = env.iter().fold(builder, |builder, (key, value)| builder.env(key, *value));
    let Finished { status, log } = builder.run_to_end(END).await;
    eprintln!("{log}");
    assert!(!log.contains(SECRET), "{log}");
    let steps = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let steps = steps.enumerate().map(|(at, step)| {
        assert_eq!(step["step"], at as u64 + 1);
        assert!(step["latencyMs"].is_number());
        let text = |key: &str| step[key].as_str().unwrap().to_owned();
        let (name, state) = (text("name"), text("state"));
        Step { name, state, found: text("found"), remedy: text("remedy") }
    });
    (status.code().unwrap(), steps.collect())
}

/// A step; what is not well has a remedy.
#[track_caller]
pub(crate) fn step<'a>(steps: &'a [Step], name: &str) -> &'a Step {
    let step = steps.iter().find(|step| step.name == name);
    let step = step.unwrap_or_else(|| panic!("{name}: {steps:?}"));
    assert_eq!(!step.remedy.is_empty(), matches!(&*step.state, "warn" | "fail"), "{step:?}");
    assert!(!step.found.is_empty(), "{step:?}");
    step
}

/// The state of a step.
#[track_caller]
pub(crate) fn state<'a>(steps: &'a [Step], name: &str) -> &'a str {
    &step(steps, name).state
}

#[tokio::test]
async fn good_servers_are_told_good_and_left_as_they_were() {
    let (server, redis) = (Postgres::shared().await, Redis::start().await);
    let database = server.database().await;
    let (redis_url, url) = (redis.url(), database.url.clone());
    // The tests beside this one have connections too.
    let few = ("MINGLE_DATABASE__MAX_CONNECTIONS", "1");
    let env = [("REDIS_URL", &*redis_url), ("DATABASE_URL", &*url), few];
    let (code, steps) = check(&env).await;
    assert_eq!((code, state(&steps, "tables")), (0, "warn"), "not migrated yet");
    let (_, name) = url.rsplit_once('/').unwrap();
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(server.sql(name, tables), "0");

    let migrated = Mingle::builder().arg("migrate").env("DATABASE_URL", &url).run_to_end(END).await;
    assert_eq!(migrated.status.code(), Some(0), "{}", migrated.log);
    let (code, steps) = check(&env).await;
    assert_eq!(code, 0, "{steps:?}");
    let all = [
        ("configuration", "ok"),
        ("listen probes", "ok"),
        ("listen grpc", "ok"),
        ("listen gateway", "ok"),
        ("data folder", "skip"),
        ("disk", "skip"),
        ("peers", "skip"),
        ("redis", "ok"),
        ("redis memory", "ok"),
        ("redis persistence", "ok"),
        ("redis writes", "ok"),
        ("redis cache", "skip"),
        ("database", "ok"),
        ("tables", "ok"),
        ("connections", "ok"),
        ("announcements", "ok"),
        ("limits", "skip"),
        ("clock", "ok"),
    ];
    let told: Vec<_> = steps.iter().map(|step| (&*step.name, state(&steps, &step.name))).collect();
    assert_eq!(told, all);
    assert!(step(&steps, "redis persistence").found.starts_with("append-only file"), "{steps:?}");
    assert_eq!(redis.cli(&["KEYS", "*"]), "mingle:{fence}", "what every connection writes");
    // In words, for a person.
    let builder = Mingle::builder().arg("check").env("DATABASE_URL", &url);
    let told = builder.run_to_end(END).await.log;
    assert!(told.contains(" 8. redis             skip"), "{told}");
    assert!(told.contains("13. database          ok"), "{told}");
}

#[tokio::test]
async fn notifications_that_no_pooler_passes_on_are_a_warning() {
    let pooler = Postgres::shared().await.pooler().await;
    let redis = Redis::start().await;
    let redis_url = redis.url();
    let env = [("REDIS_URL", &*redis_url), ("DATABASE_URL", &*pooler.url)];
    let (code, steps) = check(&env).await;
    assert_eq!((code, state(&steps, "announcements")), (0, "warn"));
    let direct = [env[0], env[1], ("DATABASE_DIRECT_URL", &pooler.direct_url)];
    let (code, steps) = check(&direct).await;
    assert_eq!((code, state(&steps, "announcements")), (0, "ok"));
}

#[tokio::test]
async fn a_server_for_what_may_be_forgotten_is_asked_whether_it_forgets_well() {
    let (redis, cache) = (Redis::start().await, Redis::start().await);
    let (redis_url, cache_url) = (redis.url(), cache.url());
    let secret = ("MINGLE_JWT_SECRET", "");
    let env = [("REDIS_URL", &*redis_url), ("REDIS_CACHE_URL", &*cache_url), secret];
    assert_eq!(cache.cli(&["CONFIG", "SET", "maxmemory", "100mb"]), "OK");
    for (policy, found, told) in [
        ("volatile-lfu", "ok", "maxmemory-policy volatile-lfu"),
        ("allkeys-lru", "warn", "all is loaded anew"),
        ("noeviction", "warn", "nothing more is cached"),
    ] {
        assert_eq!(cache.cli(&["CONFIG", "SET", "maxmemory-policy", policy]), "OK");
        let (code, steps) = check_of(&["ratelimit"], &env).await;
        assert_eq!((code, state(&steps, "redis cache")), (0, found), "{policy}: {steps:?}");
        assert!(step(&steps, "redis cache").found.contains(told), "{policy}: {steps:?}");
    }
    cache.kill();
    let (code, steps) = check_of(&["ratelimit"], &env).await;
    assert_eq!((code, state(&steps, "redis cache"), state(&steps, "redis")), (1, "fail", "ok"));
}

#[tokio::test]
async fn servers_that_cannot_be_used_fail_by_name() {
    let (redis, postgres) = (Redis::start().await, Postgres::start().await);
    let database = postgres.database().await;
    let (redis_url, url) = (redis.url(), database.url.clone());
    let env = [("REDIS_URL", &*redis_url), ("DATABASE_URL", &*url)];

    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    let (code, steps) = check(&env).await;
    assert_eq!((code, state(&steps, "redis"), state(&steps, "redis memory")), (1, "ok", "ok"));
    assert_eq!((state(&steps, "redis writes"), state(&steps, "announcements")), ("fail", "ok"));

    for (maxmemory, policy, found) in [
        ("0", "volatile-lru", "warn"),
        ("100mb", "volatile-lru", "fail"),
        ("0", "noeviction", "ok"),
    ] {
        assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory-policy", policy]), "OK");
        assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", maxmemory]), "OK");
        let (code, steps) = check(&env).await;
        assert_eq!(state(&steps, "redis memory"), found, "{policy} {maxmemory}");
        let writes = if found == "fail" { (1, "skip") } else { (0, "ok") };
        assert_eq!((code, state(&steps, "redis writes")), writes, "{policy} {maxmemory}");
    }

    redis.kill();
    postgres.kill();
    let (code, steps) = check(&env).await;
    assert_eq!((code, state(&steps, "redis"), state(&steps, "database")), (1, "fail", "fail"));
    assert_eq!((state(&steps, "redis writes"), state(&steps, "tables")), ("skip", "skip"));
}

#[tokio::test]
async fn what_mingle_refuses_to_start_on_the_check_refuses_too() {
    let server = Postgres::shared().await;
    let (redis, database) = (Redis::start().await, server.database().await);
    let (redis_url, url) = (redis.url(), database.url.clone());
    let (redis, database) = (("REDIS_URL", &*redis_url), ("DATABASE_URL", &*url));
    let (no_secret, production) = (("MINGLE_JWT_SECRET", ""), ("MINGLE_ENV", "production"));
    let misspelt = ("MINGLE_PROBES__LISTN", "127.0.0.1:0");
    let nobody = "[\"http://127.0.0.1:1\"]";
    let limits = ("MINGLE_PEERS__RATELIMIT", nobody);
    let cache = ("MINGLE_PEERS__CACHE", nobody);
    let port = free_port();
    let (one, other) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"));
    for (roles, env, fails) in [
        (vec![], vec![database], true),
        (vec![], vec![redis], true),
        (vec![], vec![redis, database, no_secret], true),
        (vec![], vec![no_secret, production], true),
        (vec![], vec![("MINGLE_GATEWAY__LIMITS__FRAME_BYTES", "1")], true),
        (vec![], vec![("MINGLE_GRPC__LISTEN", &one), ("MINGLE_PROBES__LISTEN", &other)], true),
        (vec!["ratelimit"], vec![redis, production, ("MINGLE_GRPC__LISTEN", &other)], true),
        (vec!["chat"], vec![database], true),
        (vec!["chat"], vec![redis, database], true),
        (vec!["ratelimit"], vec![redis, no_secret], false),
        (vec!["chat", "presence"], vec![redis, database, no_secret], true),
        (vec!["chat", "presence"], vec![redis, database, no_secret, limits], true),
        (vec!["chat", "presence"], vec![redis, database, no_secret, limits, cache], false),
        (vec!["ratelimit"], vec![redis, misspelt], true),
        (vec![], vec![no_secret], false),
    ] {
        let (code, steps) = check_of(&roles, &env).await;
        let wanted = if fails { (1, "fail") } else { (0, "ok") };
        assert_eq!((code, state(&steps, "configuration")), wanted, "{roles:?} {env:?}: {steps:?}");
        if !fails {
            continue;
        }
        let serve = roles.iter().fold(Mingle::builder().arg("serve"), |it, role| it.arg(*role));
        let serve = serve.env("MINGLE_JWT_SECRET", SECRET).env("MINGLE_SESSION_SECRET", SECRET);
        let serve = env.iter().fold(serve, |it, (key, value)| it.env(*key, *value));
        let started = serve.run_to_end(END).await;
        assert_eq!(started.status.code(), Some(2), "{roles:?} {env:?}: {}", started.log);
    }
}

#[tokio::test]
async fn a_variable_that_nobody_reads_is_a_warning() {
    let (code, steps) = check(&[("MINGLE_JWT_SECRT", SECRET)]).await;
    assert_eq!((code, state(&steps, "configuration")), (0, "warn"));
}

#[tokio::test]
async fn an_authority_that_did_not_sign_is_told_with_the_variable_that_names_it() {
    let (own, another) = (Certificates::make(), Certificates::make());
    let (redis, server) = (Redis::start_tls(&own, false).await, Postgres::shared().await);
    let (redis_url, url) = (redis.url(), server.database().await.url);
    for (of, found) in [(own, (0, "ok")), (another, (1, "fail"))] {
        let ca = of.ca();
        let ca = ("REDIS_TLS_CA", ca.to_str().unwrap());
        let (code, steps) = check(&[("REDIS_URL", &redis_url), ("DATABASE_URL", &url), ca]).await;
        assert_eq!((code, state(&steps, "redis")), found);
        let told = &step(&steps, "redis").remedy;
        assert!(found.0 == 0 || told.contains(ca.0), "{told}");
    }
}

#[tokio::test]
async fn of_a_cluster_each_server_is_asked() {
    let (cluster, server) = (Cluster::of(3, 0).await, Postgres::shared().await);
    let (redis_url, url) = (cluster.url(), server.database().await.url);
    let env = [("REDIS_URL", &*redis_url), ("DATABASE_URL", &*url)];
    let (code, steps) = check(&env).await;
    assert_eq!((code, state(&steps, "redis memory")), (0, "ok"));

    let third = &cluster.servers()[2];
    for (name, value) in [("maxmemory-policy", "allkeys-lru"), ("maxmemory", "100mb")] {
        assert_eq!(third.cli(&["CONFIG", "SET", name, value]), "OK");
    }
    let (code, steps) = check(&env).await;
    assert_eq!((code, state(&steps, "redis memory")), (1, "fail"));
    let told = &step(&steps, "redis").found;
    assert!(told.contains(&third.address().to_string()), "{told}");
}

#[tokio::test]
async fn each_failure_has_its_own_remedy_and_no_words_of_a_source() {
    let (redis, postgres) = (Redis::start().await, Postgres::shared().await);
    let database = postgres.database().await;
    let (redis_url, url) = (redis.url(), database.url.clone());
    let (server, _) = url.rsplit_once('/').unwrap();
    assert_eq!(redis.cli(&["ACL", "SETUSER", "ann", "on", ">right", "~*", "&*", "+@all"]), "OK");
    assert_eq!(redis.cli(&["ACL", "SETUSER", "bob", "on", ">right", "~*", "&*", "-@all"]), "OK");
    let by = |user: &str| format!("redis://{user}@{}", redis.address());
    let (nobody, nowhere) = ("127.0.0.1:1", "no-such-host.invalid:1");
    let of_cluster = Redis::start_with(&[("cluster-enabled", "yes")]).await;
    let cases = [
        ("redis", format!("redis://{nobody}"), "host and port"),
        ("redis", format!("redis://{nowhere}"), "resolve"),
        ("redis", by("ann:wrong"), "user and password"),
        ("redis", by("bob:right"), "users.acl"),
        ("redis", redis_url.replace("redis://", "rediss://"), "TLS"),
        ("redis", of_cluster.url(), "redis+cluster://"),
        ("redis", redis_url.replace("redis://", "redis+cluster://"), "alone"),
        ("redis", format!("redis+sentinel://{nobody}/main"), "host and port"),
        ("database", format!("postgres://{nobody}/x"), "host and port"),
        ("database", format!("postgres://{nowhere}/x"), "resolve"),
        ("database", format!("{server}/nothing_there"), "create the database"),
        ("database", format!("{url}?sslmode=require"), "sslmode"),
    ];
    for (name, at, remedy) in cases {
        let (for_redis, for_database) =
            if name == "redis" { (&*at, &*url) } else { (&*redis_url, &*at) };
        let env = [("REDIS_URL", for_redis), ("DATABASE_URL", for_database)];
        let (code, steps) = check(&env).await;
        assert_eq!((code, state(&steps, name)), (1, "fail"), "{at}");
        let told = &step(&steps, name).remedy;
        assert!(told.contains(remedy), "{at}: {told}");
    }
    let env = [("DATABASE_URL", &*format!("{server}/nothing_there"))];
    let builder = env.iter().fold(Mingle::builder().arg("check"), |it, (k, v)| it.env(*k, *v));
    let told = builder.run_to_end(END).await.log;
    assert!(told.contains("\"nothing_there\" does not exist\n"), "{told}");
    for noise in ["at line", "Unsupported", "Unavailable"] {
        assert!(!told.contains(noise), "{noise}: {told}");
    }
}
