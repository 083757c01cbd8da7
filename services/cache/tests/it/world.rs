//! A store, its clock, and short names for what is asked of it.

use std::{sync::Arc, time::Duration};

use mingle_cache::{
    Config,
    domain::{
        Ask, Captured, Expects, Fill, Filled, Found, Given, Key, Lease, Load, Mark, Namespace,
        Namespaces, Put, Read, Value, WHOLE, Wanted,
    },
    store::Store,
};
use mingle_runtime::{Context, config::Section as _};
use mingle_store::{
    clock::ManualClock,
    redis::{Options, Redis},
};
use mingle_testkit::{Cluster, Redis as Server, Upstash, eventually};
use tokio_util::sync::CancellationToken;

pub(crate) const START: i64 = 1_700_000_000_000;
pub(crate) const SECOND: u64 = 1_000_000;
/// For what must happen at all.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// The namespaces of every world.
pub(crate) const NAMESPACES: &str = r#"
[cache.namespaces.plain]
soft = "10s"
hard = "1m"
jitter = 0.0
early = 0.0
lease = "5s"
throttle = "3s"

[cache.namespaces.absent]
soft = "10s"
hard = "1m"
longest = "1h"
jitter = 0.0
early = 0.0
absent = "2s"
max_value_bytes = 100
"#;

/// A store and its clock.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) namespaces: Namespaces,
    /// What the store is kept in, where that is a server of its own.
    pub(crate) _server: Option<Server>,
}

impl World {
    pub(crate) fn namespace(&self) -> Arc<Namespace> {
        self.namespaces["plain"].clone()
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key { namespace: self.namespace(), name: name.into() }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.advance(seconds * 1_000);
    }

    /// Reads, without a lease.
    pub(crate) async fn read(&self, name: &str) -> Found {
        self.ask(Ask { key: self.key(name), wanted: None, void: None, luck: 0.0 }).await
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Found {
        self.store.look(&[ask]).await.remove(0).unwrap()
    }

    /// The value and whether it is fresh; `None` for none.
    pub(crate) async fn value(&self, name: &str) -> Option<(String, bool)> {
        let seen = self.read(name).await.seen?;
        let text = String::from_utf8(seen.entry.value.data.to_vec()).unwrap();
        Some((text, seen.is_fresh()))
    }

    /// Reads, and wants the lease.
    pub(crate) async fn want(&self, name: &str) -> (Found, Option<Given>) {
        self.want_of(name, &[]).await
    }

    /// The same, for a value that carries these tags.
    pub(crate) async fn want_of(&self, name: &str, tags: &[&str]) -> (Found, Option<Given>) {
        let token = rand::random();
        let wanted = Some(Wanted { token, captured: self.capture(tags).await });
        let found = self.ask(Ask { key: self.key(name), wanted, void: None, luck: 0.0 }).await;
        let given = match found.lease {
            Lease::Given { lasts_us } => Some(Given { token, lasts_us }),
            _ => None,
        };
        (found, given)
    }

    pub(crate) fn mark(&self, tag: &str) -> Mark {
        Mark { namespace: self.namespace(), tag: tag.into() }
    }

    /// The present versions of these and the namespace's.
    pub(crate) async fn capture(&self, tags: &[&str]) -> Captured {
        let marks: Vec<_> =
            std::iter::once(WHOLE).chain(tags.iter().copied()).map(|tag| self.mark(tag)).collect();
        let versions = self.store.versions(&marks).await.unwrap();
        marks.into_iter().map(|mark| mark.tag).zip(versions).collect()
    }

    pub(crate) async fn set(&self, name: &str, text: &str) -> u64 {
        let version = rand::random_range(1..=u64::MAX);
        assert!(self.set_as(name, text, version, Expects::Any).await);
        version
    }

    pub(crate) async fn set_as(
        &self,
        name: &str,
        text: &str,
        version: u64,
        expects: Expects,
    ) -> bool {
        let put = self.put(name, text, version, expects).await;
        self.store.put(&[put]).await.remove(0).unwrap()
    }

    pub(crate) async fn put(&self, name: &str, text: &str, version: u64, expects: Expects) -> Put {
        let captured = self.capture(&[]).await;
        let (soft_us, hard_us) = (10 * SECOND, 60 * SECOND);
        Put {
            key: self.key(name),
            value: value(text),
            captured,
            version,
            soft_us,
            hard_us,
            expects,
        }
    }

    /// Ends a lease with a value that carries these tags.
    pub(crate) async fn fill_of(&self, name: &str, of: Given, text: &str, tags: &[&str]) -> Filled {
        let captured = self.capture(tags).await;
        let (soft_us, hard_us) = (10 * SECOND, 60 * SECOND);
        self.end(name, of, Load::Value { value: value(text), captured, soft_us, hard_us }).await
    }

    pub(crate) async fn fill(&self, name: &str, of: Given, text: &str) -> Filled {
        self.fill_of(name, of, text, &[]).await
    }

    pub(crate) async fn end(&self, name: &str, of: Given, load: Load) -> Filled {
        let version = Read::version_of(of.token);
        let fill = Fill { key: self.key(name), token: of.token, version, load };
        self.store.fill(&fill).await.unwrap()
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.store.delete(&[self.key(name)]).await.unwrap();
    }
}

pub(crate) fn value(text: &str) -> Value {
    Value { data: text.as_bytes().into(), absent: false, content_type: "text/plain".into() }
}

/// The configuration that every world has.
pub(crate) fn config() -> Config {
    Context::for_test(&[Config::DEFAULTS], NAMESPACES).config.read().unwrap()
}

pub(crate) async fn connect(server: &Server) -> Redis {
    connect_as(server.url(), String::new()).await
}

/// Connections to the cluster that tests share.
pub(crate) async fn connect_to_cluster() -> Redis {
    let (servers, prefix) = Cluster::shared().await;
    connect_as(servers.root_url(), prefix).await
}

/// Connections to what Upstash is, which tests share.
pub(crate) async fn connect_to_upstash() -> Redis {
    let (server, prefix) = Upstash::shared().await;
    connect_as(server.url(), prefix).await
}

async fn connect_as(url: String, prefix: String) -> Redis {
    // No call should time out here, on however slow a machine.
    let timeout = Duration::from_secs(10);
    let options = Options { timeout, prefix, ..Options::new(url) };
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    redis.connected().await;
    let time = redis::cmd("TIME");
    eventually(SOON, "the connection", async || redis.query::<()>(&time).await.is_ok()).await;
    redis
}
