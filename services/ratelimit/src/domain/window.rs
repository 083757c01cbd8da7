//! The sliding window: a log of what was charged when, in grains of time.
//!
//! A grain of 1 µs makes it exact. A coarser one bounds the log: a slot then
//! counts whole until the last moment of it has left the window, so that still
//! no window ever holds more than the quota; up to one grain of it may come
//! back late.

use super::{
    counter::{Counter, kept_as},
    limit::{Mark, NEVER, Standing, State},
};

/// Quotas up to this are logged exactly: at most as many entries.
pub const EXACT: u64 = 256;
/// Slots of a window above it.
pub const PARTS: u64 = 64;

/// Cost by slot of time, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// When it last changed. Time does not go back behind it.
    pub last_us: u64,
    /// What is counted.
    pub slots: Vec<Slot>,
}

/// What was charged within one grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When the grain began, or what was reset within it.
    pub start_us: u64,
    /// The cost.
    pub cost: u64,
}

pub(super) struct Window {
    pub(super) quota: u64,
    pub(super) window_us: u64,
    pub(super) grain_us: u64,
}

impl Window {
    /// When a slot counts no more.
    fn over_us(&self, slot: &Slot) -> u64 {
        slot.start_us + (self.grain_us - 1) + self.window_us
    }

    fn slot_us(&self, at_us: u64) -> u64 {
        at_us - at_us % self.grain_us
    }
}

impl Counter for Window {
    type State = Log;

    kept_as!(Log);

    fn judge(&self, log: &Log, now_us: u64, cost: u64) -> Standing {
        let at_us = now_us.max(log.last_us);
        let live = || log.slots.iter().filter(|slot| self.over_us(slot) > at_us);
        let used: u64 = live().map(|slot| slot.cost).sum();
        let retry_us = if cost == 0 {
            0
        } else if cost > self.quota {
            NEVER
        } else {
            let mut freed = 0;
            let enough = live().find(|slot| {
                freed += slot.cost;
                freed + self.quota >= used + cost
            });
            match enough {
                Some(slot) if used + cost > self.quota => self.over_us(slot) - now_us,
                _ => 0,
            }
        };
        Standing {
            allowed: retry_us == 0,
            remaining: self.quota.saturating_sub(used),
            retry_us,
            reset_us: live()
                .rfind(|slot| slot.cost > 0)
                .map_or(0, |slot| self.over_us(slot) - now_us),
        }
    }

    fn charge(&self, log: &mut Log, now_us: u64, cost: u64) -> Mark {
        let at_us = now_us.max(log.last_us);
        log.slots.retain(|slot| self.over_us(slot) > at_us);
        log.last_us = at_us;
        let start_us = self.slot_us(at_us);
        match log.slots.last_mut() {
            Some(slot) if slot.start_us >= start_us => {
                slot.cost += cost;
                return Mark { at_us: slot.start_us, ..Mark::default() };
            }
            _ => log.slots.push(Slot { start_us, cost }),
        }
        Mark { at_us: start_us, ..Mark::default() }
    }

    fn refund(&self, log: &mut Log, now_us: u64, cost: u64, mark: Mark) -> bool {
        // What is dropped must stay so when the clock goes back.
        let at_us = now_us.max(log.last_us);
        log.last_us = at_us;
        log.slots.retain(|slot| self.over_us(slot) > at_us);
        let Some(at) = log.slots.iter().position(|slot| slot.start_us == mark.at_us) else {
            return false;
        };
        let slot = &mut log.slots[at];
        slot.cost = slot.cost.saturating_sub(cost);
        // One that began with a reset tells what was before it for the rest of its grain.
        if slot.cost == 0 && slot.start_us == self.slot_us(slot.start_us) {
            log.slots.remove(at);
        }
        true
    }

    /// What follows is in a slot that no charge of before is in, nor one ahead of time.
    fn reset(&self, log: &mut Log, now_us: u64) {
        let newest_us = log.slots.last().map_or(0, |slot| slot.start_us);
        let start_us = now_us.max(log.last_us).max(newest_us) + 1;
        *log = Log { last_us: start_us, slots: vec![Slot { start_us, cost: 0 }] };
    }

    fn ends_us(&self, log: &Log) -> u64 {
        // Of all: one that a reset left may be of another grain, and end first.
        let ends = log.slots.iter().map(|slot| match slot.cost {
            0 => self.slot_us(slot.start_us) + self.grain_us,
            _ => self.over_us(slot),
        });
        ends.max().unwrap_or(0)
    }
}
