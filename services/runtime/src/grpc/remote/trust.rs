//! Whether an instance is worth calling: when it is given up, and what makes it
//! one of the others again.
//!
//! Given up, it is called by nobody while there is another, until it has
//! answered a question of our own; then the first call that it does not answer
//! is enough. Each time in a row it is left alone for longer, as Envoy's outlier
//! detection does: who is well by its own word only costs ever fewer calls.

use std::time::Duration;

use tokio::time::Instant;

/// How long an instance is left alone that was given up; twice as long each time
/// in a row.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Calls in a row that are refused, or never answered.
const TOLERANCE: u32 = 3;

/// How a call of an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Well,
    Unavailable,
    /// Nothing came by the deadline.
    Silent,
    /// There is no connection, or it broke.
    Unreachable,
}

impl Verdict {
    /// A word for logs.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Unavailable => "unavailable",
            Self::Silent => "timeouts",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is to be left alone for `pause`, and then to be asked. `is_news` where
    /// it had answered a call since the last time.
    GivenUp { pause: Duration, is_news: bool },
    /// It answers calls, for the first time since it was given up.
    Back,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// Why it is given up, if it is.
    given_up: Option<Verdict>,
    /// In a row.
    failures: u32,
    /// How often it was given up since it answered a call.
    times: u32,
    /// When it was taken again.
    since: Option<Instant>,
}

impl Trust {
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.is_some()
    }

    /// False while a call of it may wait in vain.
    pub(super) fn answers(&self) -> bool {
        matches!(self.given_up, None | Some(Verdict::Unavailable))
    }

    /// Takes note of how a call ended that began then. What began before the
    /// instance was taken again says nothing of it now, unless its connection
    /// broke; what is borne does not give it up.
    pub(super) fn judge(
        &mut self,
        verdict: Verdict,
        begun: Instant,
        is_borne: bool,
    ) -> Option<Change> {
        let is_old = self.since.is_some_and(|since| begun < since);
        match verdict {
            _ if self.is_given_up() => return None,
            Verdict::Unreachable => self.failures = TOLERANCE,
            _ if is_old => return None,
            Verdict::Well => {
                self.failures = 0;
                return (std::mem::take(&mut self.times) > 0).then_some(Change::Back);
            }
            Verdict::Unavailable | Verdict::Silent => {
                self.failures = self.failures.saturating_add(1)
            }
        }
        if self.failures < TOLERANCE || is_borne {
            return None;
        }
        let doubled = 2_u32.saturating_pow(self.times);
        let (pause, is_news) = (PAUSE.saturating_mul(doubled).min(MAX_PAUSE), self.times == 0);
        self.given_up = Some(verdict);
        self.times = self.times.saturating_add(1);
        Some(Change::GivenUp { pause, is_news })
    }

    /// It answered what it was asked.
    pub(super) fn take_again(&mut self) {
        self.given_up = None;
        self.failures = TOLERANCE - 1;
        self.since = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_up(seconds: u64, is_news: bool) -> Option<Change> {
        Some(Change::GivenUp { pause: Duration::from_secs(seconds), is_news })
    }

    #[test]
    fn three_calls_in_a_row_or_a_broken_connection_are_enough() {
        let now = Instant::now();
        let mut trust = Trust::default();
        for _ in 0..2 {
            assert_eq!(trust.judge(Verdict::Silent, now, false), None);
            assert_eq!(trust.judge(Verdict::Unavailable, now, false), None);
            assert_eq!(trust.judge(Verdict::Well, now, false), None);
        }
        assert_eq!(trust.judge(Verdict::Silent, now, false), None);
        assert_eq!(trust.judge(Verdict::Unavailable, now, false), None);
        assert_eq!(trust.judge(Verdict::Silent, now, false), given_up(1, true));
        assert_eq!(Trust::default().judge(Verdict::Unreachable, now, false), given_up(1, true));
    }

    #[test]
    fn what_is_borne_counts_from_when_it_is_not() {
        let now = Instant::now();
        let mut trust = Trust::default();
        for _ in 0..5 {
            assert_eq!(trust.judge(Verdict::Unavailable, now, true), None);
        }
        assert_eq!(trust.judge(Verdict::Unavailable, now, false), given_up(1, true));
    }

    #[test]
    fn who_answers_questions_and_no_calls_is_left_alone_for_ever_longer() {
        let mut trust = Trust::default();
        assert_eq!(trust.judge(Verdict::Unreachable, Instant::now(), false), given_up(1, true));
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            trust.take_again();
            assert_eq!(trust.judge(Verdict::Silent, Instant::now(), false), given_up(pause, false));
        }
        trust.take_again();
        assert_eq!(trust.judge(Verdict::Well, Instant::now(), false), Some(Change::Back));
        assert_eq!(trust.judge(Verdict::Well, Instant::now(), false), None);
        assert_eq!(trust.judge(Verdict::Unreachable, Instant::now(), false), given_up(1, true));
    }

    #[test]
    fn calls_of_before_say_nothing_of_who_was_taken_again() {
        let before = Instant::now();
        let mut trust = Trust::default();
        assert_eq!(trust.judge(Verdict::Unreachable, before, false), given_up(1, true));
        for late in [Verdict::Well, Verdict::Silent, Verdict::Unreachable] {
            assert_eq!(trust.judge(late, before, false), None);
            assert!(trust.is_given_up());
        }
        trust.take_again();
        for late in [Verdict::Well, Verdict::Silent, Verdict::Unavailable] {
            assert_eq!(trust.judge(late, before, false), None);
        }
        // Whatever used it, it is gone now.
        assert_eq!(trust.judge(Verdict::Unreachable, before, false), given_up(2, false));
    }
}
