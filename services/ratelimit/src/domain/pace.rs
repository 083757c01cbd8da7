//! The generic cell rate algorithm: what was charged is due at an even pace,
//! and may lie ahead of the time by as much as the burst. It is a token bucket of
//! the burst that is filled at that pace, told by when it will be full.
//!
//! **Source**: ITU-T I.371, virtual scheduling and the continuous-state leaky bucket,
//! which it shows to be the same.
//!
//! A refund takes a charge out of the schedule, but only what of it is not due
//! yet: else charges of long ago could be turned into a burst of now. How much
//! that is follows from where the charge began in the schedule, moved forward
//! by all that was given back since, which errs on the side of less.

use super::{
    counter::{Counter, kept_as},
    limit::{Mark, NEVER, Standing, State},
};

/// A schedule. One whose end has come is as if unused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// When it last changed. Time does not go back behind it.
    pub last_us: u64,
    /// When all that was charged is due: the theoretical arrival time.
    pub due_us: u64,
    /// What was given back since it began.
    pub given_us: u64,
    /// When it began.
    pub born_us: u64,
}

pub(super) struct Rate {
    /// Between charges of 1.
    pub(super) interval_us: u64,
    pub(super) burst: u64,
}

impl Counter for Rate {
    type State = Pace;

    kept_as!(Pace);

    fn judge(&self, pace: &Pace, now_us: u64, cost: u64) -> Standing {
        let at_us = now_us.max(pace.last_us);
        let behind_us = at_us - now_us;
        let ahead_us = pace.due_us.saturating_sub(at_us);
        let most_us = self.interval_us * self.burst;
        let retry_us = if cost == 0 {
            0
        } else if cost > self.burst {
            NEVER
        } else {
            match (ahead_us + self.interval_us * cost).saturating_sub(most_us) {
                0 => 0,
                over_us => behind_us + over_us,
            }
        };
        Standing {
            allowed: retry_us == 0,
            remaining: most_us.saturating_sub(ahead_us) / self.interval_us,
            retry_us,
            reset_us: if ahead_us == 0 { 0 } else { behind_us + ahead_us },
        }
    }

    fn charge(&self, pace: &mut Pace, now_us: u64, cost: u64) -> Mark {
        let at_us = now_us.max(pace.last_us);
        if pace.due_us <= at_us {
            let born_us = at_us.max(pace.born_us + 1);
            *pace = Pace { last_us: at_us, due_us: at_us, given_us: 0, born_us };
        }
        pace.last_us = at_us;
        let mark = Mark { at_us: pace.due_us, given_us: pace.given_us, born_us: pace.born_us };
        pace.due_us += self.interval_us * cost;
        mark
    }

    fn refund(&self, pace: &mut Pace, now_us: u64, cost: u64, mark: Mark) -> bool {
        let at_us = now_us.max(pace.last_us);
        pace.last_us = at_us;
        if pace.due_us <= at_us || pace.born_us != mark.born_us {
            return false;
        }
        let moved_us = pace.given_us.saturating_sub(mark.given_us);
        let begins_us = mark.at_us.saturating_sub(moved_us);
        let gone_us = at_us.saturating_sub(begins_us);
        let held_us = (self.interval_us * cost).saturating_sub(gone_us);
        pace.due_us -= held_us.min(pace.due_us);
        pace.given_us += held_us;
        held_us > 0
    }

    fn reset(&self, pace: &mut Pace, now_us: u64) {
        let at_us = now_us.max(pace.last_us);
        let born_us = at_us.max(pace.born_us) + 1;
        *pace = Pace { last_us: at_us, due_us: at_us, given_us: 0, born_us };
    }

    fn ends_us(&self, pace: &Pace) -> u64 {
        pace.due_us.max(pace.born_us)
    }
}
