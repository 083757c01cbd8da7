//! Waiting for a condition, with a deadline.

use std::{panic::Location, time::Duration};
use tokio::time::{Instant, sleep_until, timeout_at};

const SHORTEST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// What a probe answers: a value when the condition holds, or not yet.
pub trait Outcome {
    /// What [`eventually`] returns.
    type Value;
    /// The value, or `None` when the condition does not hold yet.
    fn value(self) -> Option<Self::Value>;
}

impl Outcome for bool {
    type Value = ();
    fn value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;
    fn value(self) -> Option<T> {
        self
    }
}

/// Asks `probe` again and again until it answers `true` or `Some`, and returns
/// the value.
///
/// The probe is asked at once, then after waits of 2 ms doubling to 50 ms, and
/// a last time at the deadline. A probe that does not answer is dropped at the
/// deadline, so it must tolerate that. Time is tokio's: under a paused clock
/// the waits cost nothing.
///
/// # Panics
///
/// When `deadline` has passed: the message holds `what` and the caller's line.
#[track_caller]
pub fn eventually<O: Outcome>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> O,
) -> impl Future<Output = O::Value> {
    let caller = Location::caller();
    async move {
        let end = Instant::now() + deadline;
        let mut wait = SHORTEST_WAIT;
        let mut asked = 0_u32;
        loop {
            let last = Instant::now() >= end;
            asked += 1;
            // One more poll for the last probe, even though its time is up.
            match timeout_at(end, probe()).await.map(Outcome::value) {
                Ok(Some(value)) => return value,
                Ok(None) if !last => {}
                Ok(None) => {
                    panic!("{caller}: not within {deadline:?}: {what} (asked {asked} times)")
                }
                Err(_) => panic!(
                    "{caller}: not within {deadline:?}: {what} (probe {asked} did not answer)"
                ),
            }
            sleep_until(end.min(Instant::now() + wait)).await;
            wait = LONGEST_WAIT.min(wait * 2);
        }
    }
}

/// Asks `probe` each millisecond until it answers `true`, for callers that may
/// not await: a drop, a constructor. Blocks.
///
/// # Panics
///
/// When `deadline` has passed: the message holds `what` and the caller's line.
#[track_caller]
pub(crate) fn eventually_blocking(deadline: Duration, what: &str, mut probe: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !probe() {
        assert!(begin.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test(start_paused = true)]
    async fn returns_at_once_what_holds_already() {
        let begin = Instant::now();
        eventually(Duration::from_secs(1), "true", async || true).await;
        assert_eq!(eventually(Duration::ZERO, "some", async || Some(7)).await, 7);
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn asks_until_it_holds() {
        let mut asked = 0;
        let seen = eventually(Duration::from_secs(1), "the fifth time", async || {
            asked += 1;
            (asked == 5).then_some("fifth")
        })
        .await;
        assert_eq!((seen, asked), ("fifth", 5));
    }

    #[tokio::test(start_paused = true)]
    async fn asks_a_last_time_at_the_deadline() {
        let deadline = Duration::from_millis(777);
        let begin = Instant::now();
        eventually(deadline, "the deadline", async || begin.elapsed() >= deadline).await;
        assert_eq!(begin.elapsed(), deadline);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "not within 1s: the moon to fall (asked")]
    async fn fails_naming_what_never_came() {
        eventually(Duration::from_secs(1), "the moon to fall", async || false).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "an answer (probe 1 did not answer)")]
    async fn a_probe_that_hangs_is_cut_at_the_deadline() {
        eventually(Duration::from_secs(1), "an answer", async || pending::<bool>().await).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "eventually.rs")]
    async fn a_failure_names_the_callers_file() {
        eventually(Duration::ZERO, "nothing", async || None::<()>).await;
    }
}
