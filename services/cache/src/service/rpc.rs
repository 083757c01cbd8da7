//! The RPCs.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use mingle_proto::cache::v1::{self, cache_service_server::CacheService};
use mingle_store::Result as Stored;
use rand::Rng as _;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::{core::Core, fetch::Want, watch};
use crate::{
    domain::{Entered, Filled, Outcome, Read},
    error::Error,
    store::Changes,
    wire::{self, Asked, Loaded},
};

/// Bytes of values in one answer.
const ANSWER: usize = 1024 * 1024;
/// Entries of a stream that are stored together.
const WARMED: usize = 256;
/// Bytes of the same.
const WARMED_BYTES: usize = 1024 * 1024;
const MOST_WARMED: usize = 1_000_000;

/// Values with one loader in the whole cluster.
#[derive(Clone)]
pub(crate) struct Service {
    core: Arc<Core>,
    tasks: TaskTracker,
}

type Reply<T> = Result<Response<T>, Status>;

impl Service {
    /// A service over its cache, whose writes are among `tasks`.
    pub(crate) fn new(core: Arc<Core>, tasks: TaskTracker) -> Self {
        Self { core, tasks }
    }

    /// Does all of `work`, also when the caller goes away meanwhile: what it changed
    /// nobody else would tell.
    async fn whole<T, F>(&self, work: impl FnOnce(Arc<Core>) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let work = work(self.core.clone()).in_current_span();
        let gone = |_| Status::internal("the work ended early");
        self.tasks.spawn(work).await.map_err(gone)
    }

    fn want(&self, asked: Asked) -> Want {
        let Asked { key, tags, through, leases } = asked;
        let early = key.namespace.early;
        // XFetch: the luck is exponential.
        let luck = match early > 0.0 && leases {
            true => -early * rand::rng().random_range(f64::MIN_POSITIVE..1.0).ln(),
            false => 0.0,
        };
        Want { key, tags, through, leases, luck }
    }

    async fn void(&self, changes: Changes) -> Result<i32, Status> {
        let done = self.whole(|core| async move { core.void(changes).await }).await?;
        Ok(if done { v1::Applied::Done } else { v1::Applied::Pending }.into())
    }
}

#[tonic::async_trait]
impl CacheService for Service {
    async fn get(&self, request: Request<v1::GetRequest>) -> Reply<v1::GetResponse> {
        let begun = Instant::now();
        let (asked, wait) =
            wire::one(request.into_inner(), &self.core.namespaces).map_err(Error::from)?;
        let want = self.want(asked);
        let read = match self.core.near(&want, begun) {
            Some(read) => read,
            // Boxed: the rest is large, and most do without.
            None => Box::pin(self.core.get(&want, wait)).await,
        };
        self.core.counts.add(&want.key.namespace.name, |of| {
            of.took(begun.elapsed());
            of.read(&read);
        });
        Ok(Response::new(wire::read(&want.key, read)))
    }

    async fn get_many(&self, request: Request<v1::GetManyRequest>) -> Reply<v1::GetManyResponse> {
        let asked = wire::many(request.into_inner(), &self.core.namespaces).map_err(Error::from)?;
        let wants: Vec<_> = asked.into_iter().map(|asked| self.want(asked)).collect();
        let begun = Instant::now();
        let reads = self.core.get_many(&wants).await;
        if let Some(want) = wants.first() {
            // They are of one namespace.
            self.core.counts.add(&want.key.namespace.name, |of| {
                of.took(begun.elapsed());
                reads.iter().for_each(|read| of.read(read));
            });
        }
        let mut left = ANSWER;
        let results =
            wants.iter().zip(reads).map(|(want, read)| wire::read(&want.key, fit(read, &mut left)));
        Ok(Response::new(v1::GetManyResponse { results: results.collect() }))
    }

    async fn set(&self, request: Request<v1::SetRequest>) -> Reply<v1::SetResponse> {
        let v1::SetRequest { namespace, entry, if_version, request_id } = request.into_inner();
        let entered = wire::entry(&namespace, entry, &self.core.namespaces).map_err(Error::from)?;
        let attempt = match if_version {
            Some(of) => {
                let own = wire::version_of(&request_id, &entered).map_err(Error::from)?;
                Some((own, of))
            }
            None => None,
        };
        let storing = self.whole(|core| async move {
            match attempt {
                Some((own, of)) => core.set_if(entered, own, of).await,
                None => core.set(vec![entered]).await,
            }
        });
        let stored = storing.await?.map_err(Error::from)?;
        let is_stored = stored.stored.first().copied().unwrap_or_default();
        let version = stored.versions.first().copied().filter(|_| is_stored).unwrap_or_default();
        let outcome =
            if is_stored { v1::SetOutcome::Stored } else { v1::SetOutcome::Conflict }.into();
        Ok(Response::new(v1::SetResponse { degraded: stored.degraded, outcome, version }))
    }

    async fn set_many(&self, request: Request<v1::SetManyRequest>) -> Reply<v1::SetManyResponse> {
        let entries =
            wire::entries(request.into_inner(), &self.core.namespaces).map_err(Error::from)?;
        let stored = self.whole(|core| async move { core.set(entries).await }).await?;
        let degraded = stored.map_err(Error::from)?.degraded;
        Ok(Response::new(v1::SetManyResponse { degraded }))
    }

    async fn warm(&self, request: Request<Streaming<v1::WarmRequest>>) -> Reply<v1::WarmResponse> {
        let mut requests = request.into_inner();
        let mut told = v1::WarmResponse::default();
        let (mut number, mut ended) = (0, false);
        while !ended {
            let (mut batch, mut bytes, mut wrong) = (Vec::new(), 0, None);
            while batch.len() < WARMED && bytes < WARMED_BYTES {
                let Some(request) = requests.next().await.transpose()? else {
                    ended = true;
                    break;
                };
                match wire::warmed(request, number, &self.core.namespaces) {
                    Ok(entered) if number < MOST_WARMED => {
                        bytes += entered.value.data.len();
                        batch.push(entered);
                    }
                    Ok(_) => wrong = Some(wire::too_many("", MOST_WARMED)),
                    Err(invalid) => wrong = Some(invalid),
                }
                if wrong.is_some() {
                    break;
                }
                number += 1;
            }
            let (all, warmed) = (batch.len(), self.warm(batch).await?.map_err(Error::from)?);
            told.stored += warmed as u64;
            told.kept += (all - warmed) as u64;
            if let Some(invalid) = wrong {
                return Err(Error::from(invalid).into());
            }
        }
        Ok(Response::new(told))
    }

    async fn fill(&self, request: Request<v1::FillRequest>) -> Reply<v1::FillResponse> {
        let Loaded { entered, token, is_failed } =
            wire::fill(request.into_inner(), &self.core.namespaces).map_err(Error::from)?;
        let namespace = entered.key.namespace.name.clone();
        let bytes = entered.value.data.len() as u64;
        let filling = self.whole(|core| async move { core.fill(entered, token, is_failed).await });
        let filled = filling.await?;
        self.core.counts.add(&namespace, |of| match filled {
            Filled::Stored => of.stored_bytes.add(bytes),
            Filled::Rejected => of.rejected_fills.add(1),
            Filled::Rearmed | Filled::Ended if is_failed => of.failed_loads.add(1),
            Filled::Rearmed | Filled::Ended => {}
        });
        Ok(Response::new(wire::filled(filled)))
    }

    async fn touch(&self, request: Request<v1::TouchRequest>) -> Reply<v1::TouchResponse> {
        let v1::TouchRequest { namespace, key } = request.into_inner();
        let key = wire::key(&namespace, &key, &self.core.namespaces).map_err(Error::from)?;
        let touched = self.whole(|core| async move { core.touch(&key).await }).await?;
        Ok(Response::new(v1::TouchResponse { touched }))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Reply<v1::DeleteResponse> {
        let v1::DeleteRequest { namespace, key } = request.into_inner();
        let key = wire::key(&namespace, &key, &self.core.namespaces).map_err(Error::from)?;
        let applied = self.void(Changes { keys: vec![key], marks: vec![] }).await?;
        Ok(Response::new(v1::DeleteResponse { applied }))
    }

    async fn delete_many(
        &self,
        request: Request<v1::DeleteManyRequest>,
    ) -> Reply<v1::DeleteManyResponse> {
        let v1::DeleteManyRequest { namespace, keys } = request.into_inner();
        let keys = wire::keys(&namespace, &keys, &self.core.namespaces).map_err(Error::from)?;
        let applied = self.void(Changes { keys, marks: vec![] }).await?;
        Ok(Response::new(v1::DeleteManyResponse { applied }))
    }

    async fn invalidate_tag(
        &self,
        request: Request<v1::InvalidateTagRequest>,
    ) -> Reply<v1::InvalidateTagResponse> {
        let v1::InvalidateTagRequest { namespace, tag } = request.into_inner();
        let mark = wire::tag(&namespace, &tag, &self.core.namespaces).map_err(Error::from)?;
        let applied = self.void(Changes { keys: vec![], marks: vec![mark] }).await?;
        Ok(Response::new(v1::InvalidateTagResponse { applied }))
    }

    async fn clear_namespace(
        &self,
        request: Request<v1::ClearNamespaceRequest>,
    ) -> Reply<v1::ClearNamespaceResponse> {
        let v1::ClearNamespaceRequest { actor, namespace } = request.into_inner();
        let marks = wire::whole(&namespace, &self.core.namespaces).map_err(Error::from)?;
        wire::actor(&actor).map_err(Error::from)?;
        tracing::info!(actor, namespace, "an operator clears the cache");
        let applied = self.void(Changes { keys: vec![], marks }).await?;
        Ok(Response::new(v1::ClearNamespaceResponse { applied }))
    }

    async fn stats(&self, request: Request<v1::StatsRequest>) -> Reply<v1::StatsResponse> {
        let name = request.into_inner().namespace;
        let all = &self.core.namespaces;
        if !name.is_empty() {
            wire::named(&name, all).map_err(Error::from)?;
        }
        let wanted = all.keys().filter(|of| name.is_empty() || **of == name);
        let namespaces = wanted.filter_map(|of| self.core.stats(of)).collect();
        Ok(Response::new(v1::StatsResponse { namespaces }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<v1::WatchRequest>>,
    ) -> Reply<Self::WatchStream> {
        Ok(Response::new(Box::pin(watch::open(self.core.clone(), request.into_inner()))))
    }
}

impl Service {
    async fn warm(&self, batch: Vec<Entered>) -> Result<Stored<usize>, Status> {
        if batch.is_empty() {
            return Ok(Ok(0));
        }
        self.whole(|core| async move { core.warm(batch).await }).await
    }
}

/// As much as there is room for: a value that is not told is asked for again, or loaded
/// by who has its lease.
fn fit(mut read: Read, left: &mut usize) -> Read {
    let size = read.entry.as_ref().map_or(0, |entry| entry.value.data.len());
    // The first one fits, however large.
    if size <= *left || *left == ANSWER {
        *left = left.saturating_sub(size);
        return read;
    }
    *left = 0;
    read.entry = None;
    read.outcome = if read.lease.is_some() { Outcome::MissLoad } else { Outcome::Deferred };
    read
}
