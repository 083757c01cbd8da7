//! Pages of a room's history that no message will be added to, kept in the cache.
//!
//! An edit, a deletion and the retention change them all the same. The room tells of each,
//! and is read from the database for each question, with whether its asker may read: what
//! it tells is part of the key. So no page is older than that, whatever becomes of the
//! cache, and nothing is to be voided.
//!
//! | what fails | what follows |
//! | --- | --- |
//! | the cache is absent, slow, or does not know the namespace | the database is read |
//! | another one loads the page | the same |
//! | the page changes between room and page | it is newer than its key, and right for all who have that |
//! | what is kept is no page | the same as absent, until it ends |

use std::{future::Future, time::Duration};

use mingle_proto::{
    cache::v1::{Entry, FillRequest, GetRequest, Value, cache_service_client::CacheServiceClient},
    chat::v1::HistoryResponse,
};
use mingle_runtime::grpc::Transport;
use prost::Message as _;
use tonic::Request;

use super::Answer;
use crate::domain::Room;

/// As it is configured by `[cache.namespaces]`.
const NAMESPACE: &str = "chat_history";
/// What a page of the cache may take: the database needs less than a few of these.
const PATIENCE: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Clone)]
pub struct Pages {
    cache: CacheServiceClient<Transport>,
}

impl Pages {
    /// Kept in the cache at the end of this way.
    pub fn new(cache: Transport) -> Self {
        Self { cache: CacheServiceClient::new(cache) }
    }

    /// The page of a room before a seq: from the cache, or loaded.
    pub(super) async fn get<F>(
        &self,
        room: &Room,
        (before, limit): (u64, usize),
        load: impl FnOnce() -> F,
    ) -> Answer<HistoryResponse>
    where
        F: Future<Output = Answer<HistoryResponse>>,
    {
        if before > room.head.seq.saturating_add(1) {
            return load().await;
        }
        let (key, tags) = (key(room, before, limit), vec![format!("room:{}", room.room_id)]);
        let (kept, lease) = self.look(&key, &tags).await;
        if let Some(page) = kept {
            return Ok(page);
        }
        let page = load().await?;
        if let Some(lease) = lease {
            let value = Some(Value { data: page.encode_to_vec(), ..Value::default() });
            self.keep(Entry { key, tags, value, ..Entry::default() }, lease).await;
        }
        Ok(page)
    }

    /// What is there, or the lease to load it.
    async fn look(&self, key: &str, tags: &[String]) -> (Option<HistoryResponse>, Option<String>) {
        let (namespace, key, tags) = (NAMESPACE.to_owned(), key.to_owned(), tags.to_vec());
        let get = GetRequest { namespace, key, tags, ..GetRequest::default() };
        let Ok(read) = self.cache.clone().get(soon(get)).await else { return (None, None) };
        let read = read.into_inner();
        let lease = read.lease.map(|lease| lease.token);
        let page = read.value.and_then(|value| HistoryResponse::decode(&*value.data).ok());
        (page, lease)
    }

    /// What cannot be kept is loaded again.
    async fn keep(&self, entry: Entry, lease: String) {
        let (namespace, entry) = (NAMESPACE.to_owned(), Some(entry));
        let fill = FillRequest { namespace, entry, lease, load_failed: false };
        let _ = self.cache.clone().fill(soon(fill)).await;
    }
}

fn soon<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

fn key(room: &Room, before: u64, limit: usize) -> String {
    let Room { room_id, rewritten_seq, base, .. } = room;
    format!("{room_id}:{before}:{limit}:{rewritten_seq}:{}", base.seq)
}
