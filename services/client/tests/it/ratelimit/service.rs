//! A service with one answer, in this process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mingle_proto::ratelimit::v1::{
    AcquireRequest, AcquireResponse, CheckEachRequest, CheckEachResponse, CheckEachResult,
    CheckManyRequest, CheckManyResponse, CheckRequest, CheckResponse, ExplainRequest,
    ExplainResponse, LimitState, ListLimitsRequest, ListLimitsResponse, OutagePolicy, PeekRequest,
    PeekResponse, RefundRequest, RefundResponse, ReleaseRequest, ReleaseResponse,
    ReloadConfigRequest, ReloadConfigResponse, ResetRequest, ResetResponse, TopSubjectsRequest,
    TopSubjectsResponse,
    rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
};
use parking_lot::Mutex;
use tokio::sync::RwLock;
use tonic::{Code, Request, Response, Status};

/// A subject that no check is right for.
pub(crate) const WRONG: &str = "wrong";

/// What the service does when it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    /// Allowed; so much is left.
    Left(u64),
    /// Allowed; what is left is the cost that was asked for.
    Cost,
    /// Denied; come again after so many ms.
    Denied(u64),
    /// Its own outage policy denied it.
    Closed(u64),
    /// A status.
    Fails(Code),
    /// Nothing, ever.
    Nothing,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) says: Arc<Mutex<Says>>,
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) last: Arc<Mutex<Option<CheckRequest>>>,
    /// How many checks each call of several had.
    pub(crate) together: Arc<Mutex<Vec<usize>>>,
    /// How long each call takes.
    pub(crate) takes: Duration,
    /// An older service: it knows no calls of several.
    pub(crate) is_old: bool,
    /// Held by a test, checks wait.
    pub(crate) barrier: Arc<RwLock<()>>,
    /// Refunds that were asked for, and those that were answered.
    pub(crate) refunds: Arc<(AtomicUsize, AtomicUsize)>,
    /// Held by a test, refunds wait.
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
}

impl Fake {
    pub(crate) fn new(says: Says) -> Self {
        Self {
            says: Arc::new(Mutex::new(says)),
            asked: Arc::default(),
            last: Arc::default(),
            together: Arc::default(),
            takes: Duration::ZERO,
            is_old: false,
            barrier: Arc::default(),
            refunds: Arc::default(),
            gate: Arc::default(),
        }
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock() = says;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn transport(&self) -> RateLimitServiceServer<Self> {
        RateLimitServiceServer::new(self.clone())
    }

    /// The time of a call passes: that of a clock that the test holds.
    async fn pass(&self) {
        let _ = tokio::time::timeout(self.takes, std::future::pending::<()>()).await;
    }

    async fn answer(&self) -> Result<Says, Status> {
        let _passed = self.barrier.read().await;
        self.asked.fetch_add(1, Ordering::Relaxed);
        let says = *self.says.lock();
        match says {
            Says::Fails(code) => Err(Status::new(code, "as the test wants")),
            Says::Nothing => std::future::pending().await,
            says => Ok(says),
        }
    }

    async fn one(&self, request: CheckRequest) -> Result<CheckResponse, Status> {
        *self.last.lock() = Some(request.clone());
        if request.charge.as_ref().is_some_and(|charge| charge.subject == WRONG) {
            return Err(Status::invalid_argument(WRONG));
        }
        let says = self.answer().await?;
        let degraded = matches!(says, Says::Closed(_));
        let decided_by = if degraded { OutagePolicy::Closed } else { OutagePolicy::Unspecified };
        let (allowed, remaining, retry_after_ms) = match says {
            Says::Left(left) => (true, left, 0),
            Says::Cost => (true, request.charge.as_ref().unwrap().cost.unwrap(), 0),
            Says::Denied(ms) | Says::Closed(ms) => (false, 0, ms),
            other => panic!("{other:?}"),
        };
        let limit = request.charge.unwrap().limits.remove(0);
        let state = LimitState {
            limit,
            allowed,
            quota: 120,
            remaining,
            retry_after_ms,
            reset_after_ms: 29_001,
            shadow: false,
            decided_by: decided_by.into(),
        };
        let charge_id = request.request_id;
        let states = vec![state];
        Ok(CheckResponse {
            allowed,
            charge_id,
            states,
            retry_after_ms,
            degraded,
            ..CheckResponse::default()
        })
    }
}

#[tonic::async_trait]
impl RateLimitService for Fake {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        assert!(request.metadata().contains_key("grpc-timeout"));
        self.pass().await;
        Ok(Response::new(self.one(request.into_inner()).await?))
    }

    async fn refund(&self, _: Request<RefundRequest>) -> Result<Response<RefundResponse>, Status> {
        self.answer().await?;
        self.refunds.0.fetch_add(1, Ordering::Relaxed);
        let _open = self.gate.lock().await;
        self.refunds.1.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(RefundResponse { refunded: true }))
    }

    async fn check_each(
        &self,
        request: Request<CheckEachRequest>,
    ) -> Result<Response<CheckEachResponse>, Status> {
        assert!(request.metadata().contains_key("grpc-timeout"));
        let checks = request.into_inner().checks;
        self.together.lock().push(checks.len());
        if self.is_old {
            return Err(Status::unimplemented("an older service"));
        }
        self.pass().await;
        let mut results = Vec::new();
        for check in checks {
            let response = match self.one(check).await {
                Ok(response) => Some(response),
                Err(status) if status.message() == WRONG => None,
                Err(status) => return Err(status),
            };
            results.push(CheckEachResult { response });
        }
        Ok(Response::new(CheckEachResponse { results }))
    }

    async fn check_many(
        &self,
        _: Request<CheckManyRequest>,
    ) -> Result<Response<CheckManyResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn acquire(
        &self,
        _: Request<AcquireRequest>,
    ) -> Result<Response<AcquireResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn release(
        &self,
        _: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn peek(&self, _: Request<PeekRequest>) -> Result<Response<PeekResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn reset(&self, _: Request<ResetRequest>) -> Result<Response<ResetResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn explain(
        &self,
        _: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn reload_config(
        &self,
        _: Request<ReloadConfigRequest>,
    ) -> Result<Response<ReloadConfigResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn top_subjects(
        &self,
        _: Request<TopSubjectsRequest>,
    ) -> Result<Response<TopSubjectsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_limits(
        &self,
        _: Request<ListLimitsRequest>,
    ) -> Result<Response<ListLimitsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}
