//! The cache as an operator and its callers find it: of one process, and of several over
//! one Redis.

mod coherence;
mod elections;
mod floods;
mod loaders;
mod operators;

use std::{net::SocketAddr, time::Duration};

use mingle_proto::cache::v1::{
    Applied, DeleteRequest, Entry, FillOutcome, FillRequest, GetRequest, GetResponse,
    InvalidateTagRequest, Lease, Outcome, ReadMode, SetRequest, Value,
    cache_service_client::CacheServiceClient,
};
use mingle_testkit::{Mingle, eventually};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::world::SOON;

/// Lifetimes that a test can wait for: fresh for a second, and served on for one more when
/// it cannot be loaded; and one in which ten thousand are asked of a busy machine.
const NAMESPACE: &str = r#"
[cache.namespaces.quick]
soft = "1s"
hard = "10m"
jitter = 0.0
early = 0.0
lease = "2s"
throttle = "1s"

[cache.namespaces.lasting]
soft = "10m"
hard = "10m"
early = 0.0
lease = "10s"
"#;
const QUICK: &str = "quick";
const LASTING: &str = "lasting";

/// However busy the machine is, no call of Redis takes as long, in ms.
const PATIENT: &str = "9000";

fn is_soak() -> bool {
    std::env::var_os("MINGLE_SOAK").is_some()
}

/// Three processes over one Redis.
struct Caches {
    processes: Vec<Mingle>,
    _folder: TempDir,
}

impl Caches {
    async fn start(redis_url: &str, timeout_ms: &str) -> Self {
        Self::start_ahead_by([0; 3], redis_url, timeout_ms).await
    }

    /// Each with its clock of the day so many seconds ahead.
    async fn start_ahead_by(seconds: [i64; 3], redis_url: &str, timeout_ms: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cache.toml");
        std::fs::write(&file, NAMESPACE).unwrap();
        let mut processes = Vec::new();
        for seconds in seconds {
            let builder = Mingle::builder().arg("--config").arg(&file).arg("serve").arg("cache");
            let builder = builder.env("REDIS_URL", redis_url);
            let builder = if seconds == 0 { builder } else { builder.ahead_by(seconds) };
            // What asks beside the callers shares their connections, and gives them up.
            let builder = builder.env("MINGLE_REDIS__TIMEOUT_MS", timeout_ms);
            processes.push(builder.env("MINGLE_CACHE__TIMEOUT_MS", timeout_ms).start().await);
        }
        let caches = Self { processes, _folder: folder };
        for address in caches.addresses() {
            Client::of(address).await.until_it_hears().await;
        }
        caches
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.processes.iter().map(Mingle::grpc_addr).collect()
    }

    async fn clients(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        for address in self.addresses() {
            clients.push(Client::of(address).await);
        }
        clients
    }
}

/// One of its callers.
#[derive(Clone)]
struct Client(CacheServiceClient<Channel>);

impl Client {
    async fn of(address: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        Self(CacheServiceClient::new(channel.connect().await.unwrap()))
    }

    /// True when it is stored for all.
    async fn set(&self, entry: Entry) -> bool {
        let (namespace, entry) = (LASTING.to_owned(), Some(entry));
        let set = SetRequest { namespace, entry, ..SetRequest::default() };
        !self.0.clone().set(set).await.unwrap().into_inner().degraded
    }

    async fn get(&self, request: GetRequest) -> GetResponse {
        self.0.clone().get(request).await.unwrap().into_inner()
    }

    /// Only looks.
    async fn look(&self, key: &str, mode: ReadMode) -> GetResponse {
        let (mode, without_lease) = (mode.into(), true);
        self.get(GetRequest { mode, without_lease, ..get(LASTING, key) }).await
    }

    async fn fill(&self, namespace: &str, entry: Entry, lease: Lease) -> FillOutcome {
        let (namespace, lease) = (namespace.to_owned(), lease.token);
        let fill = FillRequest { namespace, entry: Some(entry), lease, load_failed: false };
        self.0.clone().fill(fill).await.unwrap().into_inner().outcome()
    }

    async fn delete(&self, key: &str) -> Applied {
        let delete = DeleteRequest { namespace: LASTING.to_owned(), key: key.to_owned() };
        self.0.clone().delete(delete).await.unwrap().into_inner().applied()
    }

    async fn invalidate(&self, tag: &str) -> Applied {
        let tag = InvalidateTagRequest { namespace: LASTING.to_owned(), tag: tag.to_owned() };
        self.0.clone().invalidate_tag(tag).await.unwrap().into_inner().applied()
    }

    /// Waits until it serves from its memory.
    async fn until_it_hears(&self) {
        assert!(self.set(entry("heard", "1")).await);
        eventually(SOON, "the bus", async || {
            self.look("heard", ReadMode::Unspecified).await;
            self.local_hits().await > 0
        })
        .await;
    }

    async fn local_hits(&self) -> u64 {
        let all = mingle_proto::cache::v1::StatsRequest { namespace: LASTING.to_owned() };
        self.0.clone().stats(all).await.unwrap().into_inner().namespaces[0].local_hits
    }
}

fn get(namespace: &str, key: &str) -> GetRequest {
    GetRequest { namespace: namespace.into(), key: key.into(), ..GetRequest::default() }
}

fn entry(key: &str, text: &str) -> Entry {
    let value = Value { data: text.into(), ..Value::default() };
    Entry { key: key.into(), value: Some(value), ..Entry::default() }
}

/// The value, if there is one.
fn text(response: &GetResponse) -> Option<&str> {
    response.value.as_ref().map(|value| std::str::from_utf8(&value.data).unwrap())
}

fn found(response: &GetResponse) -> (Outcome, Option<&str>) {
    (response.outcome(), text(response))
}

/// Time in which something is to happen, or not.
fn time(seconds: u64, in_soak: u64) -> Duration {
    Duration::from_secs(if is_soak() { in_soak } else { seconds })
}

async fn pass(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}
