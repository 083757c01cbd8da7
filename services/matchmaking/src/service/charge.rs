//! What a join costs: one of the user's limit `queue_join`.
//!
//! A charge is of one wish, by the id that its caller gives all attempts at it:
//! who leaves and joins again with the same content pays again. It is given
//! back when the wish made no ticket.

use std::{sync::Arc, time::Duration};

use mingle_client::ratelimit::{Limiter, Terms, Work};
use mingle_runtime::{Context, Role, grpc::Transport};
use mingle_store::{Result, bus::Bus};

use crate::store::Created;

/// The limit of ratelimit.
pub const LIMIT: &str = "queue_join";

/// Charges users.
///
/// **Degraded**: while ratelimit does not answer, the terms of this process
/// decide.
pub type Charges = mingle_client::ratelimit::Charges<Transport>;

/// How often it is looked how many processes there are.
const LOOK: Duration = Duration::from_secs(1);

/// Charges at the ratelimit of `ctx`, or else by `terms`, which this process
/// shares with those on `bus` that do the same.
pub fn charges(ctx: &Context, terms: Terms, bus: Arc<dyn Bus>) -> Charges {
    let limiter =
        Limiter::new(ctx.peers.get(Role::Ratelimit)).with_deadline(ctx.peers.ratelimit_deadline());
    let count = move || std::future::ready(bus.company(Role::Matchmaking.bit()));
    let sharing = limiter.clone().share(LOOK, count);
    ctx.tasks.spawn(ctx.stop.clone().run_until_cancelled_owned(sharing));
    Charges::new(limiter, terms.of(LIMIT))
}

/// What a charge for a ticket stands for. A ticket that is there already, or was
/// and made room for another, may be of an attempt that the charge is of.
pub(super) fn work(created: &Result<Created>) -> Work {
    match created {
        Ok(Created::New { .. }) => Work::Done,
        Err(error) if error.is_transient() && !error.is_undone() => Work::Unknown,
        Ok(Created::Existing(_) | Created::Other { .. }) => Work::DoneBefore,
        Err(_) => Work::NotBegun,
    }
}
