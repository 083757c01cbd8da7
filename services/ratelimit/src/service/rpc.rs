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

use crate::{
    domain::{Answer, Ask, Limits, Verdict},
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
    limits: Arc<Limits>,
    steps: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Service {
    /// A service over its store.
    pub(crate) fn new(store: Arc<dyn Store>, limits: Limits, tasks: TaskTracker) -> Self {
        let steps = Arc::new(Semaphore::new(MAX_STEPS));
        Self { store, limits: Arc::new(limits), steps, tasks }
    }

    /// Runs what has several steps to its end, also when the caller leaves
    /// between them. At the bound it is refused.
    async fn whole<T, F>(&self, steps: F) -> Result<T, Status>
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

    async fn charge(&self, asks: &[Ask]) -> Vec<Result<Answer, Error>> {
        let answers = self.store.check(asks).await;
        let answers = answers.into_iter().zip(asks).map(|(answer, ask)| {
            let answer = answer?;
            if answer.verdict == Verdict::Reused {
                return Err(Error::Reused);
            }
            if ask.cost > 0 {
                count(ask, &answer);
            }
            Ok(answer)
        });
        answers.collect()
    }

    /// Charges all of `asks` or, in the end, none.
    async fn charge_all(self, asks: Arc<[Ask]>) -> Result<(bool, Vec<Answer>), Error> {
        let answers = self.charge(&asks).await;
        let allowed =
            answers.iter().all(|answer| answer.as_ref().is_ok_and(|it| it.verdict.is_allowed()));
        let undone = if allowed { Ok(()) } else { self.undo(&asks, &answers).await };
        let answers = answers.into_iter().collect::<Result<_, _>>()?;
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
        let undone = undone.map(|(ask, _)| self.store.refund(&ask.subject, &ask.charge_id, false));
        for undone in join_all(undone).await {
            undone?;
        }
        Ok(())
    }
}

/// Counts the decision of each limit.
fn count(ask: &Ask, answer: &Answer) {
    for (limit, standing) in ask.limits.iter().zip(&answer.standings) {
        let decision = if standing.allowed { "allowed" } else { "denied" };
        let limit = limit.name.to_string();
        metrics::counter!("mingle_ratelimit_decisions_total", "limit" => limit, "decision" => decision)
            .increment(1);
    }
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn check(&self, request: Request<v1::CheckRequest>) -> Reply<v1::CheckResponse> {
        let ask = wire::one(request.into_inner(), &self.limits).map_err(Error::from)?;
        let asks = [ask];
        let mut answers = self.charge(&asks).await;
        // A store answers each ask.
        let answer = answers.pop().unwrap_or_else(|| Err(unanswered()))?;
        Ok(Response::new(wire::result(&asks[0], &answer)))
    }

    async fn check_each(
        &self,
        request: Request<v1::CheckEachRequest>,
    ) -> Reply<v1::CheckEachResponse> {
        let each = wire::each(request.into_inner(), &self.limits).map_err(Error::from)?;
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
        Ok(Response::new(v1::CheckEachResponse { results }))
    }

    async fn check_many(
        &self,
        request: Request<v1::CheckManyRequest>,
    ) -> Reply<v1::CheckManyResponse> {
        let asks = wire::asks(request.into_inner(), &self.limits).map_err(Error::from)?;
        let asks: Arc<[Ask]> = asks.into();
        let charging = self.clone().charge_all(asks.clone());
        let (allowed, answers) = self.whole(charging).await?;
        let mut results: Vec<_> =
            asks.iter().zip(&answers).map(|(ask, answer)| wire::result(ask, answer)).collect();
        if !allowed {
            results.iter_mut().for_each(|result| result.charge_id.clear());
        }
        Ok(Response::new(v1::CheckManyResponse { allowed, results }))
    }

    async fn peek(&self, request: Request<v1::PeekRequest>) -> Reply<v1::PeekResponse> {
        let ask = wire::peek(request.into_inner(), &self.limits).map_err(Error::from)?;
        let answer = self.store.peek(&ask).await.map_err(Error::from)?;
        Ok(Response::new(wire::peeked(&ask, &answer)))
    }

    async fn refund(&self, request: Request<v1::RefundRequest>) -> Reply<v1::RefundResponse> {
        let request = request.into_inner();
        let unless_repeated = request.unless_repeated;
        let (subject, charge_id) = wire::refund(request).map_err(Error::from)?;
        let store = self.store.clone();
        let refunding =
            async move { Ok(store.refund(&subject, &charge_id, unless_repeated).await?) };
        let refunded = self.whole(refunding).await?;
        Ok(Response::new(v1::RefundResponse { refunded }))
    }

    async fn reset(&self, request: Request<v1::ResetRequest>) -> Reply<v1::ResetResponse> {
        let (subject, limits) =
            wire::reset(request.into_inner(), &self.limits).map_err(Error::from)?;
        self.store.reset(&subject, &limits).await.map_err(Error::from)?;
        Ok(Response::new(v1::ResetResponse {}))
    }

    async fn list_limits(
        &self,
        _: Request<v1::ListLimitsRequest>,
    ) -> Reply<v1::ListLimitsResponse> {
        let limits = self.limits.values().map(|limit| wire::configured(limit)).collect();
        Ok(Response::new(v1::ListLimitsResponse { limits }))
    }
}

fn unanswered() -> Error {
    mingle_store::Error::new(mingle_store::ErrorKind::Corrupt, "ratelimit answer").into()
}
