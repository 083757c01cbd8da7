//! Refunds that Redis is owed: it was away when they were asked for.

use std::collections::VecDeque;

use mingle_store::Result;
use parking_lot::Mutex;

use super::{Store as _, redis::RedisStore};

/// Refunds that are kept. Of those beyond, what is on Redis ends with its window.
const MAX: usize = 1024;

/// Subject and charge of each, oldest first.
#[derive(Default)]
pub(super) struct Owed(Mutex<VecDeque<(String, String)>>);

impl Owed {
    pub(super) fn add(&self, subject: &str, charge_id: &str) {
        let mut owed = self.0.lock();
        if owed.len() < MAX {
            owed.push_back((subject.to_owned(), charge_id.to_owned()));
        }
    }

    /// Pays as long as it is taken. Not what was asked for again since: that
    /// attempt relies on the charge.
    pub(super) async fn pay(&self, to: &RedisStore) -> Result<()> {
        loop {
            let Some((subject, charge_id)) = self.0.lock().front().cloned() else { return Ok(()) };
            to.refund(&subject, &charge_id, true).await?;
            // The only one that takes any out is this.
            self.0.lock().pop_front();
        }
    }
}
