//! Values that are dear to compute, loaded once in the whole cluster.
//!
//! ```no_run
//! # async fn profile() -> Option<String> { None }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use mingle_client::cache::Cache;
//! use tonic::transport::Endpoint; // tonic 0.14
//!
//! let channel = Endpoint::from_static("http://127.0.0.1:50051").connect_lazy();
//! let cache = Cache::new(channel, "default");
//! // For as long as the namespace says; of all callers in all processes one loads.
//! let ann: Option<String> = cache
//!     .get_or_load("profile:ann", None, &["user:ann"], async || {
//!         Ok::<_, std::io::Error>(profile().await)
//!     })
//!     .await?;
//! cache.invalidate_tag("user:ann").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Where the services ask for a token (`MINGLE_INTERNAL_TOKEN`), the channel is given one:
//! `tonic::service::interceptor::InterceptedService` with `authorization: Bearer …`.
//!
//! [`Cache::get_or_load`] asks the service; who is given the lease loads, the others are
//! served by its Fill. When the service is away, or nobody fills in time, the loader is
//! asked directly: a cache is never the reason why a value is not there.
//!
//! | what fails | what follows |
//! | --- | --- |
//! | the service does not answer in time | the loader is asked; nothing is stored |
//! | the loader, with the lease of a stale value | that value, for the namespace's throttle |
//! | the loader, and nothing is there | its error; the next caller loads |
//! | this process, while it loads | the lease ends by itself: the next caller loads |
//! | the service refuses: no such namespace, no token, a value or a lifetime over the bound | the loader is asked, and the log tells why, once a minute; no lease is held |
//! | what is stored is no `V`: of another version of the program | it is loaded, and stored in its place |

mod flights;
mod refusals;

use std::{future::Future, sync::Arc, time::Duration};

use mingle_proto::cache::v1::{
    DeleteRequest, Entry, FillRequest, GetRequest, InvalidateTagRequest, Outcome, SetRequest,
    Value, cache_service_client::CacheServiceClient,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{error::Elapsed, timeout};
use tonic::{
    Response, Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as ResponseBody, Bytes, StdError},
};

use flights::{Flights, Turn};
use refusals::Refusals;

/// Whether all has been done, or will be before anything is read.
pub use mingle_proto::cache::v1::Applied;

/// What an answer of the service may take by default, another's load not included.
pub const DEADLINE: Duration = Duration::from_millis(100);
/// How long another's load is waited for by default.
pub const WAIT: Duration = Duration::from_secs(5);
/// What a change may take: longer than the service waits for a Redis that says nothing, so
/// that its PENDING arrives.
const CHANGE: Duration = Duration::from_secs(2);
const JSON: &str = "application/json";

/// A namespace of the cache. Clones share what they ask for at the same time.
#[derive(Clone)]
pub struct Cache<T> {
    client: CacheServiceClient<T>,
    namespace: Arc<str>,
    deadline: Duration,
    wait: Duration,
    flights: Arc<Flights>,
    refusals: Arc<Refusals>,
}

/// What was found before the loader is asked.
enum Found<V> {
    /// A value, or that there is none.
    Known(Option<V>),
    /// The lease, and what is served if the loader fails.
    Leased(String, Option<Option<V>>),
    /// Another value than a `V`.
    Foreign,
    /// Nobody can tell.
    Nothing,
}

impl<T> Cache<T>
where
    T: GrpcService<Body> + Clone,
    T::Error: Into<StdError>,
    T::ResponseBody: ResponseBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as ResponseBody>::Error: Into<StdError> + Send,
{
    /// The namespace of this name, of the service behind `channel`.
    pub fn new(channel: T, namespace: impl Into<Arc<str>>) -> Self {
        let (client, namespace) = (CacheServiceClient::new(channel), namespace.into());
        let (flights, refusals) = (Arc::default(), Arc::default());
        Self { client, namespace, deadline: DEADLINE, wait: WAIT, flights, refusals }
    }

    /// The same; an answer may take `deadline`, and another's load `wait`.
    #[must_use]
    pub fn with_patience(self, deadline: Duration, wait: Duration) -> Self {
        Self { deadline, wait, ..self }
    }

    /// The value of a key, from the cache or from `loader`; `None` when the source has no
    /// such thing. A loaded value is fresh for `ttl`, or for what the namespace says, and
    /// void when one of `tags` is.
    ///
    /// **Errors**: those of the loader, where nothing stale can be served.
    pub async fn get_or_load<V, E, F>(
        &self,
        key: &str,
        ttl: Option<Duration>,
        tags: &[&str],
        loader: impl FnOnce() -> F,
    ) -> Result<Option<V>, E>
    where
        V: Serialize + DeserializeOwned,
        F: Future<Output = Result<Option<V>, E>>,
    {
        let turn = match self.flights.join(key).await {
            Turn::Shared(value) => match read(&value) {
                Some(value) => return Ok(value),
                None => return loader().await,
            },
            Turn::Own(turn) => turn,
        };
        let (lease, stale) = match self.find(key, tags).await {
            Found::Known(value) => {
                turn.share(|| kept(&value));
                return Ok(value);
            }
            Found::Leased(lease, stale) => (Some(lease), stale),
            Found::Foreign => (None, None),
            Found::Nothing => {
                let value = loader().await?;
                turn.share(|| kept(&value));
                return Ok(value);
            }
        };
        match (loader().await, lease, stale) {
            (Ok(value), lease, _) => {
                turn.share(|| kept(&value));
                self.store(self.entry(key, ttl, tags, kept(&value)), lease).await;
                Ok(value)
            }
            (Err(error), Some(lease), stale) => {
                self.give_up(key, lease).await;
                stale.ok_or(error)
            }
            (Err(error), None, _) => Err(error),
        }
    }

    /// Deletes a value: 1.2 s after this was [`Applied::Done`] no process answers it, and what
    /// is under way here is shared with nobody who asks after it.
    ///
    /// **Errors**: what the service answers, DEADLINE_EXCEEDED where it does not in time: it
    /// may have been done. May be called again.
    pub async fn delete(&self, key: &str) -> Result<Applied, Status> {
        let (namespace, key) = (self.namespace.to_string(), key.to_owned());
        let mut client = self.client.clone();
        let deleting = client.delete(DeleteRequest { namespace, key: key.clone() });
        let deleted = in_time(self.deadline.max(CHANGE), deleting).await;
        self.flights.part(Some(&key));
        Ok(deleted?.applied())
    }

    /// Voids every value that carries a tag, itself or by another tag.
    ///
    /// **Errors**: as of [`delete`](Self::delete).
    pub async fn invalidate_tag(&self, tag: &str) -> Result<Applied, Status> {
        let (namespace, tag) = (self.namespace.to_string(), tag.to_owned());
        let mut client = self.client.clone();
        let voiding = client.invalidate_tag(InvalidateTagRequest { namespace, tag });
        let voided = in_time(self.deadline.max(CHANGE), voiding).await;
        self.flights.part(None);
        Ok(voided?.applied())
    }

    /// What was answered in time, if anything was. That it was refused is told.
    fn heard<R>(&self, answer: Result<Result<Response<R>, Status>, Elapsed>) -> Option<R> {
        match answer {
            Ok(Ok(response)) => return Some(response.into_inner()),
            Ok(Err(status)) => self.refusals.tell(&self.namespace, &status),
            Err(_) => {}
        }
        None
    }

    async fn find<V: DeserializeOwned>(&self, key: &str, tags: &[&str]) -> Found<V> {
        let request = GetRequest {
            namespace: self.namespace.to_string(),
            key: key.to_owned(),
            tags: owned(tags),
            wait_ms: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX).min(30_000),
            ..GetRequest::default()
        };
        let mut client = self.client.clone();
        let asked = timeout(self.deadline + self.wait, client.get(request)).await;
        let Some(response) = self.heard(asked) else { return Found::Nothing };
        let (outcome, value) = (response.outcome(), response.value.as_ref());
        let value = value.map(|value| if value.absent { Some(None) } else { read(&value.data) });
        let lease = response.lease.map(|lease| lease.token);
        match (outcome, value, lease) {
            (_, value, Some(lease)) => Found::Leased(lease, value.flatten()),
            (Outcome::Hit | Outcome::Stale, Some(Some(value)), None) => Found::Known(value),
            (Outcome::Hit | Outcome::Stale, Some(None), None) => Found::Foreign,
            _ => Found::Nothing,
        }
    }

    fn entry(&self, key: &str, ttl: Option<Duration>, tags: &[&str], data: Vec<u8>) -> Entry {
        let absent = data == b"null";
        let data = if absent { Vec::new() } else { data };
        let content_type = if absent { String::new() } else { JSON.to_owned() };
        Entry {
            key: key.to_owned(),
            value: Some(Value { data, absent, content_type }),
            tags: owned(tags),
            soft_ttl_ms: ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)),
            ..Entry::default()
        }
    }

    /// Stores; what cannot be is loaded again by the next caller.
    async fn store(&self, entry: Entry, lease: Option<String>) {
        let (mut client, namespace) = (self.client.clone(), self.namespace.to_string());
        let (key, entry) = (entry.key.clone(), Some(entry));
        let Some(lease) = lease else {
            let request = SetRequest { namespace, entry, ..SetRequest::default() };
            self.heard(timeout(self.deadline, client.set(request)).await);
            return;
        };
        let request = FillRequest { namespace, entry, lease: lease.clone(), load_failed: false };
        let filled = timeout(self.deadline, client.fill(request)).await;
        let refused = matches!(&filled, Ok(Err(status)) if refusals::is_one(status));
        self.heard(filled);
        if refused {
            self.give_up(&key, lease).await;
        }
    }

    /// The next caller need not wait for the lease's end.
    async fn give_up(&self, key: &str, lease: String) {
        let entry = Some(Entry { key: key.to_owned(), ..Entry::default() });
        let namespace = self.namespace.to_string();
        let request = FillRequest { namespace, entry, lease, load_failed: true };
        let _ = timeout(self.deadline, self.client.clone().fill(request)).await;
    }
}

async fn in_time<R>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<R>, Status>>,
) -> Result<R, Status> {
    let late = |_| Status::deadline_exceeded("no answer in time; the outcome is unknown");
    Ok(timeout(deadline, call).await.map_err(late)??.into_inner())
}

fn owned(tags: &[&str]) -> Vec<String> {
    tags.iter().map(|&tag| tag.to_owned()).collect()
}

/// As it is stored; what cannot be written is as absent.
fn kept<V: Serialize>(value: &Option<V>) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec())
}

/// `None` of what is no `V`.
fn read<V: DeserializeOwned>(data: &[u8]) -> Option<Option<V>> {
    serde_json::from_slice(data).ok()
}
