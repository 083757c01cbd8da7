//! What a message costs its sender: one of the limit `chat_message`.
//!
//! A charge has an id of room, key and content, so that every attempt to say
//! one thing is one charge, and two things by one key are two. While the window
//! holds it, it stands for the message in the log; it is given back when there
//! is none, or when it was made after the message. Whether it was is not asked
//! of any clock: it was, if no attempt found it made already.

use std::{sync::Arc, time::Duration};

use mingle_client::ratelimit::{Limiter, Terms, Work};
use mingle_runtime::{Context, Role, grpc::Transport};
use mingle_store::bus::Bus;
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{Answer, NewMessage, Written},
    error::Error,
};

/// The limit of ratelimit.
pub const LIMIT: &str = "chat_message";

/// Charges senders.
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
    let count = move || std::future::ready(bus.company(Role::Chat.bit()));
    let sharing = limiter.clone().share(LOOK, count);
    ctx.tasks.spawn(ctx.stop.clone().run_until_cancelled_owned(sharing));
    Charges::new(limiter, terms.of(LIMIT))
}

/// What a charge for a message stands for.
pub(super) fn work(written: &Result<Written, Error>) -> Work {
    match written {
        Ok(Written { answer: Answer::Sent(_), events }) if events.is_empty() => Work::DoneBefore,
        Ok(_) => Work::Done,
        Err(Error::Store(error)) if error.is_undone() => Work::NotBegun,
        Err(Error::Store(error)) if error.is_transient() => Work::Unknown,
        Err(_) => Work::Undone,
    }
}

/// The id of every attempt to say this.
pub(super) fn id(room_id: &str, message: &NewMessage) -> String {
    let mut hash = Sha256::new();
    for part in [room_id.as_bytes(), message.client_msg_id.as_bytes(), &message.hash[..]] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}
