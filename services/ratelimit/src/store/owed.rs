//! Refunds that Redis is owed: it was away when they were asked for.

use std::{collections::BTreeMap, sync::Arc};

use mingle_store::Error;
use parking_lot::Mutex;

use super::{Store as _, denials::Denials, redis::RedisStore};
use crate::domain::{Charged, Limits};

/// Refunds that are kept. Of those beyond, what is on Redis ends with its window.
const MAX: usize = 1024;

/// By subject and charge, the limits of then: a charge is given back in any order.
#[derive(Default)]
pub(super) struct Owed(Mutex<BTreeMap<(String, String), Arc<Limits>>>);

impl Owed {
    pub(super) fn add(&self, charge: Charged<'_>, limits: &Arc<Limits>) {
        let mut owed = self.0.lock();
        if owed.len() < MAX {
            let of = (charge.subject.to_owned(), charge.charge_id.to_owned());
            owed.insert(of, limits.clone());
        }
    }

    /// The same was asked for again, and admitted: that attempt relies on the
    /// charge.
    pub(super) fn forget(&self, subject: &str, charge_id: &str) {
        let mut owed = self.0.lock();
        if !owed.is_empty() {
            owed.remove(&(subject.to_owned(), charge_id.to_owned()));
        }
    }

    /// Pays as long as Redis takes it. What Redis refuses for good is forgotten:
    /// it ends with its window, and must not stand before the others.
    pub(super) async fn pay(&self, to: &RedisStore, denials: &Denials) {
        loop {
            let next =
                self.0.lock().first_key_value().map(|(of, limits)| (of.clone(), limits.clone()));
            let Some((next, limits)) = next else { return };
            let (subject, charge_id) = (&*next.0, &*next.1);
            let charge = Charged { subject, charge_id, unless_repeated: true };
            let paid = to.refund(charge, &limits).await;
            // Also what finds nothing: an attempt that was cut off may have run.
            if paid.is_ok() {
                denials.end(subject).await;
            }
            match paid.err() {
                Some(error) if error.is_transient() => return,
                refused => refused.iter().for_each(told),
            }
            self.0.lock().remove(&next);
        }
    }
}

fn told(error: &Error) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%error, cause, "a refund is not made: its charge ends with its window");
}
