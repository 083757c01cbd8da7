//! A subject that is asked about often.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{HOT, slice::Slice};
use crate::domain::{Answer, Limit};

/// After nothing could be taken, for so long nobody tries.
const SPENT: Duration = Duration::from_millis(50);

/// A subject, by the limits that it is asked about by.
pub(in crate::store) struct Hot {
    limits: Vec<Arc<Limit>>,
    /// Of who takes.
    pub(super) turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last that was taken.
    slice: Option<Arc<Slice>>,
    spent_until: Option<Instant>,
}

impl Hot {
    pub(super) fn new(limits: &[Arc<Limit>]) -> Self {
        Self {
            limits: limits.to_vec(),
            turn: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    pub(super) fn limits(&self) -> &[Arc<Limit>] {
        &self.limits
    }

    /// Uses so much of what was taken.
    pub(super) fn take(&self, cost: u64) -> Option<Answer> {
        let slice = self.state.lock().slice.clone()?;
        slice.take(cost)
    }

    /// Of the last slice so much was used that another one pays.
    pub(super) fn lasts(&self) -> bool {
        let slice = self.state.lock().slice.clone();
        slice.is_some_and(|slice| slice.is_recent() && slice.soon() >= HOT)
    }

    /// How much more to take than this cost.
    pub(super) fn wants(&self, cost: u64) -> Option<u64> {
        let state = self.state.lock();
        if state.spent_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let slice = state.slice.as_ref().filter(|slice| slice.is_recent());
        Some(slice.map_or(0, |slice| slice.soon()).max(HOT * cost))
    }

    /// This is what was taken last.
    pub(super) fn keep(&self, slice: Arc<Slice>) {
        self.state.lock().slice = Some(slice);
    }

    /// Nothing could be taken.
    pub(super) fn is_spent(&self) {
        self.state.lock().spent_until = Some(Instant::now() + SPENT);
    }
}
