//! Clearing it, and a Redis of its own that evicts.

use std::net::SocketAddr;

use http::Method;
use mingle_proto::cache::v1::{Entry, GetRequest, Outcome, ReadMode, SetRequest, Value};
use mingle_testkit::{Mingle, Redis, eventually};
use serde_json::json;

use super::Client;
use crate::{
    http::{Answer, call, counter, get},
    stats::token_with,
    world::{SOON, World, number, token},
};

const CLEAR: &str = "/api/admin/cache/clear";

async fn delete(at: SocketAddr, path: &str, token: &str) -> Answer {
    call(at, Method::DELETE, path, token, "").await
}

/// In a namespace that is there without configuration.
async fn set(client: &Client, key: &str, data: &[u8]) {
    let value = Value { data: data.to_vec(), ..Value::default() };
    let entry = Some(Entry { key: key.to_owned(), value: Some(value), ..Entry::default() });
    let set = SetRequest { namespace: "default".to_owned(), entry, ..SetRequest::default() };
    assert!(!client.0.clone().set(set).await.unwrap().into_inner().degraded);
}

async fn read(client: &Client, key: &str) -> Outcome {
    let (mode, without_lease) = (ReadMode::ReadThrough.into(), true);
    client.get(GetRequest { mode, without_lease, ..super::get("default", key) }).await.outcome()
}

#[tokio::test]
async fn an_operator_clears_it_and_nobody_else_does() {
    let mingle = World::builder().start().await;
    let (at, client) = (mingle.http_addr(), Client::of(mingle.grpc_addr()).await);
    let admin = token_with("root", &["admin"]);
    set(&client, "a", b"1").await;
    let refused = delete(at, CLEAR, &token("ann")).await;
    assert_eq!(refused.problem(), (403, "PERMISSION_DENIED", "NOT_ALLOWED", "authorization"));
    let unknown = delete(at, &format!("{CLEAR}?namespace=unknown"), &admin).await;
    assert_eq!(unknown.problem(), (400, "INVALID_ARGUMENT", "UNKNOWN_NAMESPACE", "namespace"));
    let empty = delete(at, &format!("{CLEAR}?namespace="), &admin).await;
    assert_eq!(empty.problem(), (400, "INVALID_ARGUMENT", "REQUIRED", "namespace"));
    assert_eq!(read(&client, "a").await, Outcome::Hit);
    for path in [CLEAR.to_owned(), format!("{CLEAR}?namespace=default")] {
        set(&client, "a", b"1").await;
        let cleared = delete(at, &path, &admin).await.ok();
        assert_eq!(cleared["isPending"], json!(false), "{cleared}");
        assert_eq!(read(&client, "a").await, Outcome::Miss);
    }
    eventually(SOON, "anybody may know how it fares", async || {
        let told = get(at, "/api/stats/system", &token("ann")).await.ok();
        let mut caches = told["caches"].as_array().unwrap().iter();
        let of = caches.find(|of| of["namespace"] == "default").unwrap();
        // The last look may be of a second ago.
        let counted = ["hits", "misses", "storedBytes", "keptBytes"].map(|what| number(&of[what]));
        counted == [1, 2, 3, 3] && of["meanReadMs"].as_f64() > Some(0.0)
    })
    .await;
    let probes = mingle.probes_addr();
    assert_eq!(counter(probes, "mingle_cache_read_seconds_count").await, 3);
}

/// State may not be evicted, and what is cached may.
#[tokio::test]
async fn its_own_redis_may_evict() {
    let (redis, cache) = (Redis::start().await, Redis::start().await);
    assert_eq!(cache.cli(&["CONFIG", "SET", "maxmemory", "30mb"]), "OK");
    assert_eq!(cache.cli(&["CONFIG", "SET", "maxmemory-policy", "volatile-lfu"]), "OK");
    let mut processes = Vec::new();
    for _ in 0..2 {
        let builder = Mingle::builder().arg("serve").arg("cache").env("REDIS_URL", redis.url());
        processes.push(builder.env("REDIS_CACHE_URL", cache.url()).start().await);
    }
    let one = Client::of(processes[0].grpc_addr()).await;
    let other = Client::of(processes[1].grpc_addr()).await;
    // More than there is room for, and not to be compressed.
    for key in 0..100 {
        let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(500_000).collect();
        set(&one, &key.to_string(), &noise).await;
    }
    assert_eq!(read(&other, "99").await, Outcome::Hit);
    assert_eq!(redis.cli(&["--scan", "--pattern", "*mingle:{c:*"]), "", "none is in the other");
    let evicted = cache.cli(&["INFO", "stats"]);
    let evicted = evicted.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap();
    assert_ne!(evicted.trim(), "0");
}
