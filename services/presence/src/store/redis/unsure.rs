//! Users of whom nobody knows whether their change was written.

use std::collections::HashSet;

use parking_lot::Mutex;

/// Beyond, a change may go unannounced; reads are right all the same.
const MAX: usize = 10_000;

/// A write that ended without an answer may have settled a change that its
/// caller could not announce. The next sweep announces it: once too often
/// harms nobody.
#[derive(Default)]
pub(super) struct Unsure(Mutex<HashSet<String>>);

impl Unsure {
    pub(super) fn note(&self, user_id: &str) {
        let mut users = self.0.lock();
        if users.len() < MAX {
            users.insert(user_id.to_owned());
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock()).into_iter().collect()
    }
}
