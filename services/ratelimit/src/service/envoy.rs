//! `ShouldRateLimit`, as Envoy and its like ask.

use std::sync::Arc;

use envoy_types::pb::envoy::service::ratelimit::v3::{
    RateLimitRequest, RateLimitResponse, rate_limit_response::Code,
    rate_limit_service_server::RateLimitService,
};
use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::{Kind, refuse};
use tonic::{Request, Response, Status};

use super::{Service, rpc::by};
use crate::{
    domain::Answer,
    error::Error,
    wire::envoy::{self, Asked},
};

/// The limits of descriptors.
pub(crate) struct Envoy {
    service: Service,
}

impl Envoy {
    /// Counts where `service` counts.
    pub(crate) fn new(service: Service) -> Self {
        Self { service }
    }

    /// An answer for each ask; where the whole is denied and all or nothing is wanted,
    /// nothing is charged in the end.
    async fn charge(&self, asked: &Arc<Asked>) -> Result<Vec<Answer>, Status> {
        let asks = &asked.asks;
        if asked.all_or_nothing && asks.len() > 1 {
            let judged = asked.clone();
            let passes = move |answers: &[Answer]| {
                envoy::reply(&judged.places, &judged.asks, answers).overall_code() == Code::Ok
            };
            let charging = self.service.clone().charge_all(asks.as_slice().into(), passes);
            return self.service.whole(charging).await.map(|(_, answers)| answers);
        }
        let answers = self.service.charge(asks).await.into_iter();
        Ok(answers.collect::<Result<_, Error>>()?)
    }
}

#[tonic::async_trait]
impl RateLimitService for Envoy {
    /// **Errors**: INVALID_ARGUMENT; UNAVAILABLE for all else, whatever it was: Envoy
    /// lets pass what it has no answer for, unless it is told otherwise.
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let now = self.service.current.get();
        let asked = envoy::asked(request.into_inner(), &now.rules).map_err(Error::from)?;
        let asked = Arc::new(asked);
        let answers = match asked.asks.is_empty() {
            true => Vec::new(),
            false => self.charge(&asked).await.map_err(unavailable)?,
        };
        by(&now, envoy::reply(&asked.places, &asked.asks, &answers))
    }
}

fn unavailable(status: Status) -> Status {
    tracing::debug!(%status, "descriptors are not decided");
    refuse(Kind::Unavailable, Reason::Unavailable, "the limits cannot be counted")
}
