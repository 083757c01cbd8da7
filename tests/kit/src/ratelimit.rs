//! A ratelimit of a test's own: it counts charges and knows no time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mingle_proto::ratelimit::v1::{
    AcquireRequest, AcquireResponse, CheckEachRequest, CheckEachResponse, CheckEachResult,
    CheckManyRequest, CheckManyResponse, CheckRequest, CheckResponse, ExplainRequest,
    ExplainResponse, ListLimitsRequest, ListLimitsResponse, PeekRequest, PeekResponse,
    RefundRequest, RefundResponse, ReleaseRequest, ReleaseResponse, ReloadConfigRequest,
    ReloadConfigResponse, ResetRequest, ResetResponse, TopSubjectsRequest, TopSubjectsResponse,
    rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
};
use tonic::{Request, Response, Status};

/// Whether each charge of a subject, by its id, was found made already.
type Charges = BTreeMap<String, BTreeMap<String, bool>>;

/// As ratelimit answers to charges of 1 of one limit: so many of a subject,
/// each id once. Clones count together.
#[derive(Clone, Debug)]
pub struct Ratelimit {
    limit: &'static str,
    quota: usize,
    charges: Arc<Mutex<Charges>>,
}

impl Ratelimit {
    /// When to come again, as who is denied is told, in milliseconds.
    pub const RETRY_MS: u64 = 12_345;

    /// Admits `quota` charges of a subject until [`Ratelimit::forget`].
    #[must_use]
    pub fn of(limit: &'static str, quota: usize) -> Self {
        Self { limit, quota, charges: Arc::default() }
    }

    /// As a server.
    #[must_use]
    pub fn service(&self) -> RateLimitServiceServer<Self> {
        RateLimitServiceServer::new(self.clone())
    }

    /// Charges of a subject that stand.
    #[must_use]
    pub fn charges(&self, subject: &str) -> usize {
        self.held().get(subject).map_or(0, BTreeMap::len)
    }

    /// The window has passed.
    pub fn forget(&self) {
        self.held().clear();
    }

    fn held(&self) -> MutexGuard<'_, Charges> {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl RateLimitService for Ratelimit {
    async fn check(&self, call: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let CheckRequest { charge, request_id, .. } = call.into_inner();
        let charge = charge.unwrap_or_default();
        assert_eq!((charge.limits, charge.cost), (vec![self.limit.to_owned()], Some(1)));
        assert!((1..=256).contains(&request_id.len()), "{request_id}");
        let mut held = self.held();
        let charges = held.entry(charge.subject).or_default();
        if let Some(repeated) = charges.get_mut(&request_id) {
            *repeated = true;
        } else if charges.len() < self.quota {
            charges.insert(request_id.clone(), false);
        } else {
            let retry_after_ms = Self::RETRY_MS;
            return Ok(Response::new(CheckResponse { retry_after_ms, ..Default::default() }));
        }
        let charge_id = request_id;
        Ok(Response::new(CheckResponse { allowed: true, charge_id, ..Default::default() }))
    }

    async fn refund(
        &self,
        call: Request<RefundRequest>,
    ) -> Result<Response<RefundResponse>, Status> {
        let RefundRequest { subject, charge_id, unless_repeated } = call.into_inner();
        let mut held = self.held();
        let charges = held.entry(subject).or_default();
        let kept = unless_repeated && charges.get(&charge_id).is_some_and(|repeated| *repeated);
        let refunded = !kept && charges.remove(&charge_id).is_some();
        Ok(Response::new(RefundResponse { refunded }))
    }

    async fn check_each(
        &self,
        call: Request<CheckEachRequest>,
    ) -> Result<Response<CheckEachResponse>, Status> {
        let mut results = Vec::new();
        for check in call.into_inner().checks {
            let response = Some(self.check(Request::new(check)).await?.into_inner());
            results.push(CheckEachResult { response });
        }
        Ok(Response::new(CheckEachResponse { results }))
    }

    async fn check_many(
        &self,
        _: Request<CheckManyRequest>,
    ) -> Result<Response<CheckManyResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn acquire(
        &self,
        _: Request<AcquireRequest>,
    ) -> Result<Response<AcquireResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn release(
        &self,
        _: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn peek(&self, _: Request<PeekRequest>) -> Result<Response<PeekResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn reset(&self, _: Request<ResetRequest>) -> Result<Response<ResetResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn explain(
        &self,
        _: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn reload_config(
        &self,
        _: Request<ReloadConfigRequest>,
    ) -> Result<Response<ReloadConfigResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn top_subjects(
        &self,
        _: Request<TopSubjectsRequest>,
    ) -> Result<Response<TopSubjectsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn list_limits(
        &self,
        _: Request<ListLimitsRequest>,
    ) -> Result<Response<ListLimitsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }
}
