//! One time for all processes that share the rows.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use mingle_store::{Result, clock::Clock};

use crate::store::Tickets;

/// An answer that took longer says too little about the time.
const MAX_TRIP_MS: i64 = 500;

/// The time of the rows: one process writes when a lease ends, another judges
/// it, and their own clocks may differ by more than the lease.
///
/// **Guarantees**: within half a round trip of the database's clock as it was
/// asked last, which is each sweep; this process's own clock where it has the
/// rows alone. Before the first answer, the own clock.
pub struct RowClock {
    own: Arc<dyn Clock>,
    ahead_ms: AtomicI64,
    knows: AtomicBool,
}

impl RowClock {
    /// Learns how far the database is ahead of `own`.
    pub fn new(own: Arc<dyn Clock>) -> Self {
        Self { own, ahead_ms: AtomicI64::new(0), knows: AtomicBool::new(false) }
    }

    /// Asks for the time; fails when the rows cannot be read.
    pub async fn learn(&self, tickets: &dyn Tickets) -> Result<()> {
        let asked = self.own.now_ms();
        let Some(theirs) = tickets.probe().await? else {
            return Ok(());
        };
        let trip = self.own.now_ms() - asked;
        // Any answer is better than none; the own clock may have been set.
        let first = !self.knows.swap(true, Ordering::Relaxed);
        if first || (0..=MAX_TRIP_MS).contains(&trip) {
            self.ahead_ms.store(theirs - (asked + trip / 2), Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Clock for RowClock {
    fn now_ms(&self) -> i64 {
        self.own.now_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }
}
