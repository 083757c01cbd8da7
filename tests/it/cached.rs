//! The cache as an operator and its callers find it: of one process, and of several over
//! a Redis of its own that evicts.

use std::net::SocketAddr;

use http::Method;
use mingle_proto::cache::v1::{
    Entry, GetRequest, Outcome, ReadMode, SetRequest, Value,
    cache_service_client::CacheServiceClient,
};
use mingle_testkit::{Mingle, Redis};
use serde_json::json;
use tonic::transport::Channel;

use crate::{
    http::{Answer, call},
    stats::token_with,
    world::{World, token},
};

const CLEAR: &str = "/api/admin/cache/clear";

async fn delete(at: SocketAddr, path: &str, token: &str) -> Answer {
    call(at, Method::DELETE, path, token, "").await
}

struct Client(CacheServiceClient<Channel>);

impl Client {
    async fn of(mingle: &Mingle) -> Self {
        let address = format!("http://{}", mingle.grpc_addr());
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        Self(CacheServiceClient::new(channel))
    }

    async fn set(&mut self, key: &str, data: &[u8]) {
        let value = Value { data: data.to_vec(), ..Value::default() };
        let entry = Some(Entry { key: key.to_owned(), value: Some(value), ..Entry::default() });
        let namespace = "default".to_owned();
        let set = SetRequest { namespace, entry, ..SetRequest::default() };
        assert!(!self.0.set(set).await.unwrap().into_inner().degraded);
    }

    async fn read(&mut self, key: &str) -> Outcome {
        let request = GetRequest {
            namespace: "default".to_owned(),
            key: key.to_owned(),
            mode: ReadMode::ReadThrough.into(),
            without_lease: true,
            ..GetRequest::default()
        };
        self.0.get(request).await.unwrap().into_inner().outcome()
    }
}

#[tokio::test]
async fn an_operator_clears_it_and_nobody_else_does() {
    let mingle = World::builder().start().await;
    let (at, mut client) = (mingle.http_addr(), Client::of(&mingle).await);
    let admin = token_with("root", &["admin"]);
    client.set("a", b"1").await;
    let refused = delete(at, CLEAR, &token("ann")).await;
    assert_eq!(refused.problem(), (403, "PERMISSION_DENIED", "NOT_ALLOWED", "authorization"));
    let unknown = delete(at, &format!("{CLEAR}?namespace=unknown"), &admin).await;
    assert_eq!(unknown.problem(), (400, "INVALID_ARGUMENT", "UNKNOWN_NAMESPACE", "namespace"));
    assert_eq!(client.read("a").await, Outcome::Hit);
    for path in [CLEAR.to_owned(), format!("{CLEAR}?namespace=default")] {
        client.set("a", b"1").await;
        let cleared = delete(at, &path, &admin).await.ok();
        assert_eq!(cleared["isPending"], json!(false), "{cleared}");
        assert_eq!(client.read("a").await, Outcome::Miss);
    }
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
    let mut one = Client::of(&processes[0]).await;
    let mut other = Client::of(&processes[1]).await;
    // More than there is room for, and not to be compressed.
    for key in 0..100 {
        let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(500_000).collect();
        one.set(&key.to_string(), &noise).await;
    }
    assert_eq!(other.read("99").await, Outcome::Hit);
    assert_eq!(redis.cli(&["--scan", "--pattern", "*mingle:{c:*"]), "", "none is in the other");
    let evicted = cache.cli(&["INFO", "stats"]);
    let evicted = evicted.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap();
    assert_ne!(evicted.trim(), "0");
}
