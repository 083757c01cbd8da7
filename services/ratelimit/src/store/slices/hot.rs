//! A subject that is asked about often.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{HOT, LIFE, slice::Slice};
use crate::{
    domain::{Answer, Ask, Limit},
    store::alone::Alone,
};

/// After nothing could be taken, for so long nobody tries.
const SPENT: Duration = Duration::from_millis(50);

/// A subject, by the limits that it is asked about by.
pub(in crate::store) struct Hot {
    limits: Vec<Arc<Limit>>,
    /// Of who takes.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    life: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last that was taken.
    slice: Option<Arc<Slice>>,
    spent_until: Option<Instant>,
}

impl Hot {
    pub(super) fn new(limits: &[Arc<Limit>], life: Duration) -> Self {
        Self { limits: limits.to_vec(), turn: Arc::default(), life, state: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &[Arc<Limit>] {
        &self.limits
    }

    /// For so long something is taken.
    pub(super) fn life(&self) -> Duration {
        self.life
    }

    /// Uses so much of what was taken.
    pub(super) fn take(&self, cost: u64) -> Option<Answer> {
        let slice = self.state.lock().slice.clone()?;
        slice.take(cost)
    }

    /// So much of it is left.
    pub(super) fn holds(&self, cost: u64) -> bool {
        self.state.lock().slice.as_ref().is_some_and(|slice| slice.holds(cost))
    }

    /// Of the last slice so much was used that another one pays.
    pub(super) fn lasts(&self) -> bool {
        let slice = self.state.lock().slice.clone();
        slice.is_some_and(|slice| slice.is_recent() && slice.used_within(LIFE) >= HOT)
    }

    /// How much more to take than this cost.
    pub(super) fn wants(&self, cost: u64) -> u64 {
        let slice = self.state.lock().slice.clone().filter(|slice| slice.is_recent());
        // Some of its time passes until it is here, and somebody must take the next.
        let ahead = self.life.mul_f64(0.8);
        slice.map_or(0, |slice| slice.used_within(ahead)).max(HOT * cost)
    }

    /// This is what was taken last.
    pub(super) fn keep(&self, slice: Arc<Slice>) {
        self.state.lock().slice = Some(slice);
    }

    /// Nothing could be taken.
    pub(super) fn spend(&self) {
        self.state.lock().spent_until = Some(Instant::now() + SPENT);
    }

    /// Nothing could be taken a moment ago.
    pub(super) fn is_spent(&self) -> bool {
        self.state.lock().spent_until.is_some_and(|until| Instant::now() < until)
    }

    /// What was used of the last slice is counted by `alone`, too.
    pub(super) fn note(&self, ask: &Ask, alone: &Alone) {
        let slice = self.state.lock().slice.clone();
        if let Some(slice) = slice {
            slice.note(ask, alone);
        }
    }
}
