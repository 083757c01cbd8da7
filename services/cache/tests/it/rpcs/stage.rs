//! Instances of the role, and short names for what is asked of them.

use std::{sync::Arc, time::Duration};

use mingle_cache::{Config, bind};
use mingle_proto::cache::v1::{
    self, Applied, Entry, FillOutcome, FillRequest, GetRequest, GetResponse, Outcome, ReadMode,
    SetRequest, Value, cache_service_client::CacheServiceClient,
};
use mingle_runtime::{Context, config::Section as _, grpc::Transport};
use mingle_store::{
    bus::{Merged, Options, Servers},
    clock::SystemClock,
    redis::Redis,
};
use mingle_testkit::{Redis as Server, eventually};

use crate::world::{NAMESPACES, SOON, connect};

const MORE: &str = r#"
[cache.namespaces.short]
soft = "10s"
hard = "1m"
jitter = 0.0
early = 0.0
lease = "300ms"
throttle = "200ms"

[cache.namespaces.brief]
soft = "200ms"
hard = "1m"
jitter = 0.0
early = 0.0
throttle = "200ms"

[cache.namespaces.races]
soft = "10s"
hard = "1m"
lease = "500ms"
"#;

/// One process.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) transport: Transport,
    pub(crate) client: CacheServiceClient<Transport>,
}

/// A process that keeps all in its memory.
pub(crate) async fn alone() -> Instance {
    instance(None).await
}

/// As many processes over one server of their own.
pub(crate) async fn several(count: usize) -> (Vec<Instance>, Server) {
    let server = Server::start().await;
    let mut instances = Vec::new();
    for _ in 0..count {
        instances.push(instance(Some(connect(&server).await)).await);
    }
    for one in &instances {
        one.hears().await;
    }
    (instances, server)
}

pub(crate) async fn instance(redis: Option<Redis>) -> Instance {
    let texts = format!("[cache]\ntimeout_ms = 1000\n{NAMESPACES}{MORE}");
    let ctx = Context::for_test(&[Config::DEFAULTS], &texts);
    let redis = redis.map(|redis| {
        let beats = Options { beat: Duration::from_millis(200), ..Options::default() };
        let bus = Merged::start(Servers::Redis(redis.clone()), beats);
        (redis, Arc::new(bus) as Arc<dyn mingle_store::bus::Bus>)
    });
    let bound = bind(ctx, Arc::new(SystemClock), redis).await.unwrap();
    let transport = Transport::local(bound.into_routes().unwrap());
    Instance { client: CacheServiceClient::new(transport.clone()), transport }
}

pub(crate) fn get(namespace: &str, key: &str) -> GetRequest {
    GetRequest { namespace: namespace.into(), key: key.into(), ..GetRequest::default() }
}

pub(crate) fn entry(key: &str, text: &str) -> Entry {
    let value = Value { data: text.into(), ..Value::default() };
    Entry { key: key.into(), value: Some(value), ..Entry::default() }
}

pub(crate) fn tagged(key: &str, text: &str, tags: &[&str]) -> Entry {
    Entry { tags: tags.iter().map(|&tag| tag.into()).collect(), ..entry(key, text) }
}

pub(crate) fn text(response: &GetResponse) -> &str {
    let value = response.value.as_ref().map(|value| &value.data[..]);
    std::str::from_utf8(value.unwrap_or(b"nothing")).unwrap()
}

impl Instance {
    pub(crate) async fn get(&self, request: GetRequest) -> GetResponse {
        self.client.clone().get(request).await.unwrap().into_inner()
    }

    /// Waits until it hears what changes: it serves from its memory.
    async fn hears(&self) {
        self.set_in("absent", entry("heard", "1")).await;
        eventually(SOON, "the bus", async || {
            self.get(get("absent", "heard")).await;
            self.stats("absent").await.local_hits > 0
        })
        .await;
    }

    /// Outcome and value of a key of `plain`.
    pub(crate) async fn read(&self, key: &str) -> (Outcome, String) {
        let read = self.get(GetRequest { without_lease: true, ..get("plain", key) }).await;
        (read.outcome(), text(&read).to_owned())
    }

    /// The same, of what is shared.
    pub(crate) async fn read_through(&self, key: &str) -> (Outcome, String) {
        let mode = ReadMode::ReadThrough.into();
        let read = self.get(GetRequest { mode, without_lease: true, ..get("plain", key) }).await;
        (read.outcome(), text(&read).to_owned())
    }

    pub(crate) async fn set(&self, entry: Entry) -> v1::SetResponse {
        self.set_in("plain", entry).await
    }

    pub(crate) async fn set_in(&self, namespace: &str, entry: Entry) -> v1::SetResponse {
        let request =
            SetRequest { namespace: namespace.into(), entry: Some(entry), ..SetRequest::default() };
        self.client.clone().set(request).await.unwrap().into_inner()
    }

    pub(crate) async fn fill(
        &self,
        namespace: &str,
        entry: Entry,
        read: &GetResponse,
    ) -> FillOutcome {
        let lease = read.lease.as_ref().expect("a lease").token.clone();
        let (namespace, entry) = (namespace.into(), Some(entry));
        let request = FillRequest { namespace, entry, lease, load_failed: false };
        self.client.clone().fill(request).await.unwrap().into_inner().outcome()
    }

    pub(crate) async fn fail(&self, namespace: &str, key: &str, read: &GetResponse) -> FillOutcome {
        let lease = read.lease.as_ref().expect("a lease").token.clone();
        let entry = Some(Entry { key: key.into(), ..Entry::default() });
        let request = FillRequest { namespace: namespace.into(), entry, lease, load_failed: true };
        self.client.clone().fill(request).await.unwrap().into_inner().outcome()
    }

    pub(crate) async fn delete(&self, key: &str) -> Applied {
        let request = v1::DeleteRequest { namespace: "plain".into(), key: key.into() };
        self.client.clone().delete(request).await.unwrap().into_inner().applied()
    }

    pub(crate) async fn invalidate(&self, tag: &str) -> Applied {
        let request = v1::InvalidateTagRequest { namespace: "plain".into(), tag: tag.into() };
        self.client.clone().invalidate_tag(request).await.unwrap().into_inner().applied()
    }

    pub(crate) async fn clear(&self, namespace: &str) -> Applied {
        let (actor, namespace) = ("root".into(), namespace.into());
        let request = v1::ClearNamespaceRequest { actor, namespace };
        self.client.clone().clear_namespace(request).await.unwrap().into_inner().applied()
    }

    pub(crate) async fn stats(&self, namespace: &str) -> v1::NamespaceStats {
        let request = v1::StatsRequest { namespace: namespace.into() };
        let stats = self.client.clone().stats(request).await.unwrap().into_inner();
        stats.namespaces.into_iter().next().unwrap()
    }
}
