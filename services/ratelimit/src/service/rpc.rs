//! The RPCs.

use std::{future::Future, sync::Arc};

use futures::future::join_all;
use mingle_proto::{
    errors::v1::Reason,
    ratelimit::v1::{self, rate_limit_service_server::RateLimitService},
};
use mingle_runtime::status::{Kind, refuse};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{
    decisions::Decisions,
    top::{Count, Top},
};
use crate::{
    catalogue::{Catalogue, Current},
    domain::{Answer, Ask, Charged, Limits, Place, Source, Verdict},
    error::Error,
    store::Store,
    wire,
};

/// Calls of several steps at the same time, with those whose caller has left.
const MAX_STEPS: usize = 1024;

/// How often someone may do something.
#[derive(Clone)]
pub(crate) struct Service {
    store: Arc<dyn Store>,
    pub(super) current: Current,
    steps: Arc<Semaphore>,
    tasks: TaskTracker,
    tops: Arc<Tops>,
    decisions: Arc<Decisions>,
}

/// Of all subjects, and of those who were denied.
struct Tops {
    asked: Top,
    denied: Top,
}

impl Service {
    /// A service over its store.
    pub(crate) fn new(store: Arc<dyn Store>, current: Current, tasks: TaskTracker) -> Self {
        let steps = Arc::new(Semaphore::new(MAX_STEPS));
        let tops = Arc::new(Tops { asked: Top::new(), denied: Top::new() });
        Self { store, current, steps, tasks, tops, decisions: Arc::default() }
    }

    /// Runs what has several steps to its end, also when the caller leaves
    /// between them. At the bound it is refused.
    pub(super) async fn whole<T, F>(&self, steps: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let overloaded =
            |_| refuse(Kind::Exhausted, Reason::Overloaded, "too many calls of several steps");
        let place = self.steps.clone().try_acquire_owned().map_err(overloaded)?;
        let steps = steps.in_current_span();
        let run = self.tasks.spawn(async move {
            let result = steps.await;
            drop(place);
            result
        });
        Ok(run.await.unwrap_or_else(|_| Err(unanswered()))?)
    }

    async fn give_back(
        &self,
        (subject, charge_id): (String, String),
        unless_repeated: bool,
        limits: Arc<Limits>,
    ) -> Result<bool, Status> {
        let store = self.store.clone();
        let refunding = async move {
            let (subject, charge_id) = (&*subject, &*charge_id);
            let charge = Charged { subject, charge_id, unless_repeated };
            Ok(store.refund(charge, &limits).await?)
        };
        self.whole(refunding).await
    }

    pub(super) async fn charge(&self, asks: &[Ask]) -> Vec<Result<Answer, Error>> {
        let answers = self.store.check(asks).await;
        let answers = answers.into_iter().zip(asks).map(|(answer, ask)| {
            let answer = answer?;
            if answer.verdict == Verdict::Reused {
                return Err(Error::Reused);
            }
            if ask.cost > 0 {
                self.decisions.count(ask, &answer);
                self.tops.asked.met(&ask.subject);
                if !answer.verdict.is_allowed() {
                    self.tops.denied.met(&ask.subject);
                }
            }
            Ok(answer)
        });
        answers.collect()
    }

    /// Charges all of `asks` or, in the end, none: as `passes` says of the answers.
    pub(super) async fn charge_all(
        self,
        asks: Arc<[Ask]>,
        passes: impl Fn(&[Answer]) -> bool + Send,
    ) -> Result<(bool, Vec<Answer>), Error> {
        let charged = self.charge(&asks).await;
        let is_whole = charged.iter().all(Result::is_ok);
        let answers: Vec<_> = charged.iter().flatten().cloned().collect();
        let allowed = is_whole && passes(&answers);
        let undone = if allowed { Ok(()) } else { self.undo(&asks, &charged).await };
        charged.into_iter().collect::<Result<Vec<_>, _>>()?;
        undone?;
        Ok((allowed, answers))
    }

    /// Gives back what was charged of `asks`, or may have been.
    async fn undo(&self, asks: &[Ask], answers: &[Result<Answer, Error>]) -> Result<(), Error> {
        let charged = |answer: &Result<Answer, Error>| match answer {
            Ok(answer) => answer.verdict.is_allowed(),
            Err(error) => matches!(error, Error::Store(_)),
        };
        let undone =
            asks.iter().zip(answers).filter(|(ask, answer)| ask.cost > 0 && charged(answer));
        let undone = undone.map(async |(ask, _)| {
            let Ask { subject, charge_id, limits, .. } = ask;
            let charge = Charged { subject, charge_id, unless_repeated: false };
            let limits = limits.iter().map(|it| (it.name.to_string(), it.clone())).collect();
            self.store.refund(charge, &Arc::new(limits)).await
        });
        for undone in join_all(undone).await {
            undone?;
        }
        Ok(())
    }
}

type Reply<T> = Result<Response<T>, Status>;

/// In the metadata of each reply: which limits it was judged by.
const VERSION: &str = "mingle-ratelimit-config";

/// A reply by this catalogue.
pub(super) fn by<T>(catalogue: &Catalogue, message: T) -> Reply<T> {
    let mut response = Response::new(message);
    response.metadata_mut().insert(VERSION, catalogue.mark.clone());
    Ok(response)
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn check(&self, request: Request<v1::CheckRequest>) -> Reply<v1::CheckResponse> {
        let now = self.current.get();
        let asks = [wire::one(request.into_inner(), &now.limits).map_err(Error::from)?];
        let mut answers = self.charge(&asks).await;
        // A store answers each ask.
        let answer = answers.pop().unwrap_or_else(|| Err(unanswered()))?;
        by(&now, wire::result(&asks[0], &answer))
    }

    async fn check_each(
        &self,
        request: Request<v1::CheckEachRequest>,
    ) -> Reply<v1::CheckEachResponse> {
        let now = self.current.get();
        let each = wire::each(request.into_inner(), &now.limits).map_err(Error::from)?;
        let places: Vec<_> = each.iter().map(Result::is_ok).collect();
        let asks: Vec<_> = each.into_iter().flatten().collect();
        let answers = self.charge(&asks).await;
        let mut answers = asks.iter().zip(answers);
        let mut results = Vec::with_capacity(places.len());
        for is_asked in places {
            let response = match is_asked.then(|| answers.next()).flatten() {
                Some((ask, Ok(answer))) => Some(wire::result(ask, &answer)),
                Some((_, Err(Error::Reused))) | None => None,
                // Nobody knows of the others either.
                Some((_, Err(error))) => return Err(error.into()),
            };
            results.push(v1::CheckEachResult { response });
        }
        by(&now, v1::CheckEachResponse { results })
    }

    async fn check_many(
        &self,
        request: Request<v1::CheckManyRequest>,
    ) -> Reply<v1::CheckManyResponse> {
        let now = self.current.get();
        let asks = wire::asks(request.into_inner(), &now.limits).map_err(Error::from)?;
        let asks: Arc<[Ask]> = asks.into();
        let all = |answers: &[Answer]| answers.iter().all(|it| it.verdict.is_allowed());
        let charging = self.clone().charge_all(asks.clone(), all);
        let (allowed, answers) = self.whole(charging).await?;
        let mut results: Vec<_> =
            asks.iter().zip(&answers).map(|(ask, answer)| wire::result(ask, answer)).collect();
        if !allowed {
            results.iter_mut().for_each(|result| result.charge_id.clear());
        }
        by(&now, v1::CheckManyResponse { allowed, results })
    }

    async fn acquire(&self, request: Request<v1::AcquireRequest>) -> Reply<v1::AcquireResponse> {
        let now = self.current.get();
        let asks = [wire::acquire(request.into_inner(), &now.limits).map_err(Error::from)?];
        let answer = self.charge(&asks).await.pop().unwrap_or_else(|| Err(unanswered()))?;
        by(&now, wire::lease(&asks[0], &answer))
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Reply<v1::ReleaseResponse> {
        let now = self.current.get();
        let lease = wire::release(request.into_inner()).map_err(Error::from)?;
        let released = self.give_back(lease, false, now.limits.clone()).await?;
        by(&now, v1::ReleaseResponse { released })
    }

    async fn peek(&self, request: Request<v1::PeekRequest>) -> Reply<v1::PeekResponse> {
        let now = self.current.get();
        let ask = wire::peek(request.into_inner(), &now.limits).map_err(Error::from)?;
        let answer = self.store.peek(&ask).await.map_err(Error::from)?;
        by(&now, wire::peeked(&ask, &answer))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Reply<v1::ExplainResponse> {
        let now = self.current.get();
        let question = wire::question(request.into_inner(), &now.limits, &now.rules);
        let Some(ask) = question.map_err(Error::from)? else {
            return by(&now, wire::explained(None, Vec::new(), &now.version));
        };
        let answer = self.store.peek(&ask).await.map_err(Error::from)?;
        let places = ask.limits.iter().map(|limit| match answer.alone_of() {
            Some(_) => Place::Memory,
            None => self.store.place(&ask.subject, limit),
        });
        let decider = match answer.source {
            Source::Count => self.store.decider(&ask),
            source => source,
        };
        let asked = Some((&ask, &answer, decider));
        let told = wire::explained(asked, places.collect(), &now.version);
        by(&now, told)
    }

    async fn refund(&self, request: Request<v1::RefundRequest>) -> Reply<v1::RefundResponse> {
        let now = self.current.get();
        let request = request.into_inner();
        let unless_repeated = request.unless_repeated;
        let charge = wire::refund(request).map_err(Error::from)?;
        let refunded = self.give_back(charge, unless_repeated, now.limits.clone()).await?;
        by(&now, v1::RefundResponse { refunded })
    }

    async fn reset(&self, request: Request<v1::ResetRequest>) -> Reply<v1::ResetResponse> {
        let now = self.current.get();
        let (subject, limits) =
            wire::reset(request.into_inner(), &now.limits).map_err(Error::from)?;
        let store = self.store.clone();
        self.whole(async move { Ok(store.reset(&subject, &limits).await?) }).await?;
        by(&now, v1::ResetResponse {})
    }

    async fn list_limits(
        &self,
        _: Request<v1::ListLimitsRequest>,
    ) -> Reply<v1::ListLimitsResponse> {
        let now = self.current.get();
        let limits = now.limits.values().map(|limit| wire::configured(limit)).collect();
        by(&now, v1::ListLimitsResponse { limits, version: now.version.clone() })
    }

    async fn top_subjects(
        &self,
        request: Request<v1::TopSubjectsRequest>,
    ) -> Reply<v1::TopSubjectsResponse> {
        let now = self.current.get();
        let most = wire::most(request.into_inner()).map_err(Error::from)?;
        let told = |top: &Top| {
            let first = top.first(most).into_iter();
            first.map(|(subject, Count { times, error })| v1::SubjectCount {
                subject,
                times,
                error,
            })
        };
        let (asked, denied) = (told(&self.tops.asked), told(&self.tops.denied));
        by(&now, v1::TopSubjectsResponse { asked: asked.collect(), denied: denied.collect() })
    }

    async fn reload_config(
        &self,
        _: Request<v1::ReloadConfigRequest>,
    ) -> Reply<v1::ReloadConfigResponse> {
        let current = self.current.clone();
        let reloading = tokio::task::spawn_blocking(move || current.reload());
        let read = reloading.await.map_err(|_| unanswered())?;
        let now = read.map_err(|error| {
            refuse(Kind::Precondition, Reason::ConfigInvalid, error.to_string())
        })?;
        by(&now, v1::ReloadConfigResponse { version: now.version.clone() })
    }
}

fn unanswered() -> Error {
    mingle_store::Error::new(mingle_store::ErrorKind::Corrupt, "ratelimit answer").into()
}
