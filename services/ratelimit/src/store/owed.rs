//! Refunds that Redis is owed: it was away when they were asked for.

use std::collections::BTreeSet;

use mingle_store::Error;
use parking_lot::Mutex;

use super::{Store as _, redis::RedisStore};

/// Refunds that are kept. Of those beyond, what is on Redis ends with its window.
const MAX: usize = 1024;

/// Subject and charge of each: a charge is given back in any order.
#[derive(Default)]
pub(super) struct Owed(Mutex<BTreeSet<(String, String)>>);

impl Owed {
    pub(super) fn add(&self, subject: &str, charge_id: &str) {
        let mut owed = self.0.lock();
        if owed.len() < MAX {
            owed.insert((subject.to_owned(), charge_id.to_owned()));
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
    pub(super) async fn pay(&self, to: &RedisStore) {
        loop {
            let next = self.0.lock().first().cloned();
            let Some(next) = next else { return };
            let (subject, charge_id) = &next;
            match to.refund(subject, charge_id, true).await.err() {
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
