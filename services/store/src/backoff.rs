//! Waits between attempts at a server that does not take them.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_secs(1);

/// Waits that double from 50 ms to 1 s, each at random between the half and the
/// whole of it, so that those who lost a server together do not come back
/// together.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Backoff {
    /// Before the first wait.
    pub fn new() -> Self {
        Self(FIRST)
    }

    /// The next wait.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = LAST.min(whole * 2);
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// The wait after an attempt that held for so long: one that outlasted the
    /// longest wait was good, and the next begins anew.
    pub fn after(&mut self, held: Duration) -> Duration {
        if held > LAST {
            *self = Self::new();
        }
        self.next()
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_begin_anew_after_what_held() {
        let mut backoff = Backoff::new();
        let mut waits: Vec<_> = (0..8).map(|_| backoff.after(Duration::from_millis(10))).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2, "{waits:?}");
        assert!(waits.pop().is_some_and(|wait| (LAST / 2..=LAST).contains(&wait)));
        assert!(backoff.after(LAST * 2) <= FIRST);
    }
}
