//! What a join costs: one of the user's limit `queue_join`.
//!
//! A charge is of one call: who leaves and joins again with the same content
//! pays again. It is given back when the call made no ticket.

use std::time::Duration;

use mingle_client::ratelimit::{Limiter, Policy, Terms};
use mingle_runtime::{Context, Role, grpc::Transport};
use mingle_store::Result;

use crate::{error::Error, store::Created};

const LIMIT: &str = "queue_join";
/// Nobody is told to come back later than this.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Charges users.
///
/// **Degraded**: while ratelimit does not answer, the terms of this process
/// decide.
pub struct Charges {
    limiter: Limiter<Transport>,
    policy: Policy,
}

/// One that was made.
pub(super) struct Charge {
    user_id: String,
    id: String,
    here: bool,
}

impl Charges {
    /// Charges at the ratelimit of `ctx`, or else by `terms`.
    pub fn new(ctx: &Context, terms: Terms) -> Self {
        let limiter = Limiter::new(ctx.peers.get(Role::Ratelimit))
            .with_deadline(ctx.peers.ratelimit_deadline());
        Self { limiter, policy: terms.of(LIMIT) }
    }

    /// Charges the user for a ticket of this id.
    ///
    /// **Errors**: [`Error::RateLimited`] when they have joined often enough.
    pub(super) async fn charge(&self, user_id: &str, ticket_id: &str) -> Result<Charge, Error> {
        let checked = self.limiter.check(&self.policy, user_id, 1, ticket_id).await;
        let verdict = checked.map_err(|status| Error::Limit(Box::new(status)))?;
        if !verdict.allowed {
            return Err(Error::RateLimited { retry_after: verdict.retry_after.min(LONGEST) });
        }
        let (user_id, id) = (user_id.to_owned(), ticket_id.to_owned());
        Ok(Charge { user_id, id, here: verdict.degraded })
    }

    /// Gives back a charge that made no ticket. Whether a transient error made
    /// one is unknown: that stays charged.
    pub(super) async fn settle(&self, charge: Charge, created: &Result<Created>) {
        match created {
            Ok(Created::New { .. }) => return,
            Err(error) if error.is_transient() => return,
            Ok(Created::Existing(_) | Created::Other { .. }) | Err(_) => {}
        }
        if charge.here {
            self.limiter.forget(&self.policy, &charge.user_id, 1);
        } else if let Err(error) =
            self.limiter.refund(&self.policy, &charge.user_id, 1, &charge.id).await
        {
            tracing::debug!(%error, "a charge ends with its window");
        }
    }
}
