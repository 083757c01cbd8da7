//! How often somebody does something: an open loop, as far as one person has it.

use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

use super::person::Person;

/// What is owed from before that is not made good any more.
const OWED: Duration = Duration::from_secs(10);

/// Things fall due at an even pace, however long each takes: whoever was held up
/// makes good for it.
pub(super) struct Pace {
    every: Duration,
    due: Instant,
}

impl Pace {
    /// One every so often; not all people at the same time.
    pub(super) fn new(every: Duration, person: &mut Person) -> Self {
        Self { every, due: Instant::now() + every.mul_f64(person.dice.random_range(0.0..1.0)) }
    }

    /// Until the next falls due.
    pub(super) fn left(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// One is done.
    pub(super) fn done(&mut self) {
        let now = Instant::now();
        self.due = (self.due + self.every).max(now.checked_sub(OWED).unwrap_or(now));
    }
}
