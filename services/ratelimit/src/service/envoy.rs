//! `ShouldRateLimit`, as Envoy and its like ask.

use envoy_types::pb::envoy::service::ratelimit::v3::{
    RateLimitRequest, RateLimitResponse, rate_limit_service_server::RateLimitService,
};
use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::{Kind, refuse};
use tonic::{Request, Response, Status};

use super::{Service, rpc::by};
use crate::{
    domain::{Answer, Ask},
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

    /// An answer for each ask; where one denies and all or nothing is wanted, nothing
    /// is charged in the end.
    async fn charge(&self, asks: &[Ask], all_or_nothing: bool) -> Result<Vec<Answer>, Status> {
        if all_or_nothing && asks.len() > 1 {
            let charging = self.service.clone().charge_all(asks.to_vec().into());
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
        let Asked { asks, places, all_or_nothing } =
            envoy::asked(request.into_inner(), &now.rules).map_err(Error::from)?;
        let answers = match asks.is_empty() {
            true => Vec::new(),
            false => self.charge(&asks, all_or_nothing).await.map_err(unavailable)?,
        };
        by(&now, envoy::reply(&places, &asks, &answers))
    }
}

fn unavailable(status: Status) -> Status {
    tracing::debug!(%status, "descriptors are not decided");
    refuse(Kind::Unavailable, Reason::Unavailable, "the limits cannot be counted")
}
