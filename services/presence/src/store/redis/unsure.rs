//! What nobody knows whether it was written.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::domain::Lost;

/// Beyond, a change may go unannounced; reads are right all the same.
const MAX: usize = 10_000;

/// A holder that lost its session, if the write that had no answer happened.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    pub(super) user_id: String,
    pub(super) lost: Lost,
}

/// A write that ended without an answer may have settled a change that its
/// caller could not announce. The next sweep announces it: once too often
/// harms nobody. That a socket lost its session does harm if it did not: the
/// next sweep reads who holds it.
#[derive(Default)]
pub(super) struct Unsure {
    users: Mutex<HashSet<String>>,
    doubts: Mutex<Vec<Doubt>>,
}

impl Unsure {
    pub(super) fn note(&self, user_id: &str) {
        let mut users = self.users.lock();
        if users.len() < MAX {
            users.insert(user_id.to_owned());
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.users.lock()).into_iter().collect()
    }

    pub(super) fn doubt(&self, doubts: impl IntoIterator<Item = Doubt>) {
        let mut all = self.doubts.lock();
        let room = MAX.saturating_sub(all.len());
        all.extend(doubts.into_iter().take(room));
    }

    /// At most `max` of them.
    pub(super) fn take_doubts(&self, max: usize) -> Vec<Doubt> {
        let mut all = self.doubts.lock();
        let rest = all.len().saturating_sub(max);
        all.split_off(rest)
    }
}
