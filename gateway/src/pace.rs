//! How fast something may happen: so many times a second, a few at once.

use std::time::Duration;

use tokio::time::Instant;

/// What may happen at once after a pause, in time.
const SLACK: Duration = Duration::from_millis(100);

/// Hands out turns (a leaky bucket as GCRA counts it).
///
/// **Guarantees**: in any `t` seconds at most `rate * (t + 0.1) + 1` turns.
#[derive(Debug)]
pub(crate) struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    /// So many turns a second, at least one.
    pub(crate) fn per_second(rate: u32) -> Self {
        Self { gap: Duration::from_secs(1) / rate.max(1), next: Instant::now() }
    }

    /// Waits for the next turn; true when it did not come at once. Cancel
    /// safe: a turn that was not waited for is not taken.
    pub(crate) async fn turn(&mut self) -> bool {
        let now = Instant::now();
        // What was not used for longer than the slack is forgotten.
        self.next = self.next.max(now.checked_sub(SLACK).unwrap_or(now));
        let waits = self.next > now;
        if waits {
            tokio::time::sleep_until(self.next).await;
        }
        self.next += self.gap;
        waits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Pace;

    /// Turns within `time`.
    async fn turns(pace: &mut Pace, time: Duration) -> u32 {
        let end = Instant::now() + time;
        let mut turns = 0;
        while tokio::time::timeout_at(end, pace.turn()).await.is_ok() {
            turns += 1;
        }
        turns
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_the_rate_and_a_few_at_once_after_a_pause() {
        let mut pace = Pace::per_second(500);
        let first = turns(&mut pace, Duration::from_secs(4)).await;
        assert!((1990..=2051).contains(&first), "{first}");
        tokio::time::advance(Duration::from_secs(60)).await;
        let begin = Instant::now();
        let mut at_once = 0;
        while !pace.turn().await {
            at_once += 1;
        }
        assert!((50..=52).contains(&at_once), "{at_once}");
        assert!(begin.elapsed() < Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_takes_no_turn() {
        let mut pace = Pace::per_second(1);
        assert_eq!(turns(&mut pace, Duration::from_millis(10)).await, 1);
        for _ in 0..90 {
            assert_eq!(turns(&mut pace, Duration::from_millis(10)).await, 0);
        }
        assert!(pace.turn().await);
    }
}
