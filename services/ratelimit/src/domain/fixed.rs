//! The fixed window: what was used since the last multiple of its length.
//!
//! The least to keep and the least that is promised: the quota in each such window,
//! and so at most twice the quota in any true one, half of it at either side of an edge.

use super::{
    counter::{Counter, kept_as},
    limit::{Mark, NEVER, Standing, State},
};

/// What one window used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// When the window began. Time does not go back behind it.
    pub start_us: u64,
    /// When it was first used of, since it was reset.
    pub born_us: u64,
    /// The cost.
    pub cost: u64,
}

pub(super) struct Fixed {
    pub(super) quota: u64,
    pub(super) window_us: u64,
}

impl Fixed {
    /// What the present window used.
    fn now(&self, used: &Used, now_us: u64) -> Used {
        let start_us = now_us - now_us % self.window_us;
        // Of a window that had another length it may be no multiple.
        let from_us = used.start_us - used.start_us % self.window_us;
        if from_us < start_us {
            Used { start_us, cost: 0, ..*used }
        } else {
            Used { start_us: from_us, ..*used }
        }
    }
}

impl Counter for Fixed {
    type State = Used;

    kept_as!(Used);

    fn judge(&self, used: &Used, now_us: u64, cost: u64) -> Standing {
        let used = self.now(used, now_us);
        let left_us = used.start_us + self.window_us - now_us;
        let remaining = self.quota.saturating_sub(used.cost);
        let retry_us = if cost == 0 || cost <= remaining {
            0
        } else if cost > self.quota {
            NEVER
        } else {
            left_us
        };
        let reset_us = if used.cost == 0 { 0 } else { left_us };
        Standing { allowed: retry_us == 0, remaining, retry_us, reset_us }
    }

    fn charge(&self, used: &mut Used, now_us: u64, cost: u64) -> Mark {
        *used = self.now(used, now_us);
        if used.cost == 0 {
            used.born_us = now_us.max(used.born_us + 1);
        }
        used.cost += cost;
        Mark { at_us: used.start_us, given_us: 0, born_us: used.born_us }
    }

    fn refund(&self, used: &mut Used, now_us: u64, cost: u64, mark: Mark) -> bool {
        *used = self.now(used, now_us);
        let is_same = (used.start_us, used.born_us) == (mark.at_us, mark.born_us);
        let given = if is_same { cost.min(used.cost) } else { 0 };
        used.cost -= given;
        given > 0
    }

    fn reset(&self, used: &mut Used, now_us: u64) {
        *used = Used { cost: 0, born_us: now_us.max(used.born_us) + 1, ..self.now(used, now_us) };
    }

    fn ends_us(&self, used: &Used) -> u64 {
        if used.cost == 0 { used.born_us } else { used.start_us + self.window_us }
    }
}
