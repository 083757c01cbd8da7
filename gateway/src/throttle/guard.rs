//! Charges requests and refused tokens.

use std::{sync::Arc, time::Duration};

use axum::{
    Router, middleware,
    response::{IntoResponse as _, Response},
};
use http::{header, request::Parts};
use mingle_client::ratelimit::{Limiter, Policy, RateLimitLayer, Refusal, Verdict};
use mingle_proto::{
    errors::v1::Reason,
    presence::v1::{self as pr, presence_service_client::PresenceServiceClient},
};
use mingle_runtime::{Context, Role, grpc::Transport, status::Kind};

use super::{
    Address, Asker, asker,
    classes::{Class, Classes, is_attempt},
};
use crate::{config::Config, fault::Fault, gateway::Gateway};

/// How often it is looked how many gateways there are.
const LOOK: Duration = Duration::from_secs(3);
/// Nobody is told to come back later than this.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Charges the limits of the classes.
///
/// **Degraded**: while ratelimit does not answer, the terms of this process
/// decide.
pub(crate) struct Throttle {
    limiter: Limiter<Transport>,
    classes: Classes,
    attempts: Policy,
    tells_older: bool,
}

impl Throttle {
    /// Charges at the ratelimit of `ctx`. What is counted here alone is shared
    /// with the gateways that presence knows.
    pub(crate) fn new(ctx: &Context, config: &Config) -> Self {
        let limiter = Limiter::new(ctx.peers.get(Role::Ratelimit))
            .with_deadline(ctx.peers.ratelimit_deadline());
        let presence = PresenceServiceClient::new(ctx.peers.get(Role::Presence));
        let sharing = limiter.clone().share(LOOK, move || gateways(presence.clone()));
        ctx.tasks.spawn(ctx.stop.clone().run_until_cancelled_owned(sharing));
        let classes = config.classes;
        let (attempts, tells_older) = (classes.policy(Class::Auth), config.older_ratelimit_headers);
        Self { limiter, classes, attempts, tells_older }
    }

    /// What to tell a socket from `address` whose token was refused: `fault`,
    /// or to come back later.
    pub(crate) async fn refused(&self, address: Address, fault: Fault) -> Fault {
        if !is_attempt(&fault) {
            return fault;
        }
        match self.limiter.check_once(&self.attempts, &address.subject(), 1).await {
            Ok(verdict) if verdict.allowed => fault,
            Ok(verdict) => denied(&verdict),
            Err(status) => {
                tracing::error!(%status, "refused tokens cannot be counted");
                fault
            }
        }
    }

    fn layer(
        &self,
        class: Class,
    ) -> RateLimitLayer<Transport, impl Fn(&Parts) -> Option<String> + Clone + use<>> {
        let charged =
            move |parts: &Parts| class.charged(parts.uri.path(), parts.extensions.get::<Asker>()?);
        let layer = RateLimitLayer::new(self.limiter.clone(), self.classes.policy(class), charged);
        if self.tells_older { layer.with_older_headers() } else { layer }
    }
}

/// How many gateways there are; `None` while presence does not say.
async fn gateways(mut presence: PresenceServiceClient<Transport>) -> Option<u32> {
    let nodes = presence.list_nodes(pr::ListNodesRequest {}).await.ok()?.into_inner().nodes;
    let gateways = nodes.iter().filter(|node| node.role == Role::Gateway.name()).count();
    // Presence may not know of this one yet.
    u32::try_from(gateways.max(1)).ok()
}

/// Puts the limits before every route of `router`.
pub(crate) fn guard(router: Router<Arc<Gateway>>, gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    let charge = |router: Router<_>, class| router.layer(gateway.throttle.layer(class));
    Class::ALL
        .into_iter()
        .fold(router, charge)
        .layer(middleware::map_response(explain))
        .layer(middleware::from_fn_with_state(gateway.clone(), asker::learn))
}

/// Gives a refusal the body that all failures have.
async fn explain(response: Response) -> Response {
    let fault = match response.extensions().get() {
        None => return response,
        Some(Refusal::Denied { verdict, .. } | Refusal::Closed { verdict, .. }) => denied(verdict),
        Some(Refusal::Broken(_)) => Fault::new(Kind::Internal, Reason::Internal, "internal error"),
    };
    let mut explained = fault.into_response();
    let mut headers = response.into_parts().0.headers;
    // When to come back is told once, in the header as in the body.
    headers.remove(header::RETRY_AFTER);
    explained.headers_mut().extend(headers);
    explained
}

fn denied(verdict: &Verdict) -> Fault {
    let retry_after = verdict.retry_after.min(LONGEST);
    if verdict.closed {
        let message = "requests of this kind cannot be counted now: wait for retryAfterMs";
        return Fault::new(Kind::Unavailable, Reason::Unavailable, message)
            .retry_after(retry_after);
    }
    let message = "too many requests: wait for retryAfterMs";
    let fault = Fault::new(Kind::Exhausted, Reason::RateLimited, message);
    Fault { retry_after: Some(retry_after), ..fault }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use mingle_client::ratelimit::{Source, Verdict};

    use super::denied;

    fn verdict(closed: bool) -> Verdict {
        let second = Duration::from_secs(1);
        Verdict {
            allowed: false,
            quota: 10,
            remaining: 0,
            retry_after: second,
            reset_after: second,
            source: Source::Process,
            closed,
        }
    }

    #[test]
    fn a_limit_says_when_there_is_room_and_an_outage_tells_each_another_time() {
        let told = |closed| -> BTreeSet<Duration> {
            (0..20).map(|_| denied(&verdict(closed)).retry_after.unwrap()).collect()
        };
        let second = Duration::from_secs(1);
        assert_eq!(told(false), BTreeSet::from([second]));
        let spread = told(true);
        assert!(spread.len() > 1 && spread.iter().all(|it| (second..=second * 2).contains(it)));
    }
}
