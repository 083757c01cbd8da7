//! What a message costs its sender: one of the limit `chat_message`.
//!
//! A charge has an id of room, key and content, so that every attempt to say
//! one thing is one charge, and two things by one key are two. While the window
//! holds it, it stands for the message in the log; it is given back when there
//! is none, or when it was made after the message. Whether it was is not asked
//! of any clock: it was, if no attempt found it made already.

use std::time::Duration;

use mingle_client::ratelimit::{Limiter, Policy, Terms};
use mingle_runtime::{Context, Role, grpc::Transport};
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{Answer, NewMessage, Written},
    error::Error,
};

const LIMIT: &str = "chat_message";
/// Nobody is told to come back later than this.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Charges senders.
///
/// **Degraded**: while ratelimit does not answer, the terms of this process
/// decide.
pub struct Charges {
    limiter: Limiter<Transport>,
    policy: Policy,
}

/// One that was made.
pub(super) struct Charge {
    sender: String,
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

    /// Charges the sender for a message.
    ///
    /// **Errors**: [`Error::RateLimited`] when they have said enough.
    pub(super) async fn charge(
        &self,
        room_id: &str,
        message: &NewMessage,
    ) -> Result<Charge, Error> {
        let (sender, id) = (message.sender.clone(), id(room_id, message));
        let checked = self.limiter.check(&self.policy, &sender, 1, &id).await;
        let verdict = checked.map_err(|status| Error::Limit(Box::new(status)))?;
        if !verdict.allowed {
            return Err(Error::RateLimited { retry_after: verdict.retry_after.min(LONGEST) });
        }
        Ok(Charge { sender, id, here: verdict.degraded })
    }

    /// Gives back a charge that stands for no message.
    pub(super) async fn settle(&self, charge: Charge, written: &Result<Written, Error>) {
        let was_said = match written {
            Ok(Written { answer: Answer::Sent(_), events }) if events.is_empty() => true,
            Ok(_) => return,
            // The next attempt finds out, and is the same charge.
            Err(Error::Store(error)) if error.is_transient() => return,
            Err(_) => false,
        };
        let Charge { sender, id, here } = &charge;
        let refunded = match (*here, was_said) {
            // What is counted here knows no ids: it is of this attempt.
            (true, _) => {
                self.limiter.forget(&self.policy, sender, 1);
                return;
            }
            (false, true) => self.limiter.refund_unless_repeated(&self.policy, sender, 1, id).await,
            (false, false) => self.limiter.refund(&self.policy, sender, 1, id).await,
        };
        if let Err(error) = refunded {
            tracing::debug!(%error, "a charge ends with its window");
        }
    }
}

fn id(room_id: &str, message: &NewMessage) -> String {
    let mut hash = Sha256::new();
    for part in [room_id.as_bytes(), message.client_msg_id.as_bytes(), &message.hash[..]] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
