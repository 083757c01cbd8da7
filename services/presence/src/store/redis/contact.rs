//! Whether presence was there all the while, so that whoever is not known is
//! known to be offline.
//!
//! A node that cannot renew is not a node that died. After a time in which no
//! node could reach its lease through here (the server was silent, or lost its
//! data, or this process stood still, or has just begun) nothing is said of
//! those who would be offline, until each node had as long as a renewal at the
//! end of that time would have given it: its lease and the grace.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::Terms;

/// Below this a slow moment of the process would count as a silence.
const SHORTEST: Duration = Duration::from_secs(2);

/// What counts as a silence, and how long it is rested after one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Silences up to this long harm nobody: nodes renew after them in time.
    pub silence: Duration,
    /// How long nothing is said of those who would be offline.
    pub rest: Duration,
}

impl Patience {
    /// As long as the terms make it: half of lease and grace is a silence,
    /// after which a node still has the other half to be heard in; the whole
    /// of both is the rest.
    pub fn of(terms: &Terms) -> Self {
        let ms = terms.lease_ms.saturating_add(terms.grace_ms);
        let rest = Duration::from_millis(ms.unsigned_abs());
        Self { silence: SHORTEST.max(rest / 2), rest }
    }
}

/// When the server last took part in leading the sweep: not when it was read,
/// since a server that refuses writes renews no lease either. By this
/// process's time: the server's may have stood still.
pub(super) struct Contact {
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The generation that was heard.
    era: String,
    heard: Option<Instant>,
    rest_until: Option<Instant>,
}

impl Contact {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, state: Mutex::default() }
    }

    /// How long it is to be rested yet; nothing when it can be told who is
    /// offline.
    pub(super) fn rests(&self, era: &str) -> Option<Duration> {
        let (now, state) = (Instant::now(), self.state.lock());
        let left = if self.was_silent(&state, era, now) {
            self.patience.rest
        } else {
            state.rest_until?.saturating_duration_since(now)
        };
        (!left.is_zero()).then_some(left)
    }

    /// The server answered. `attended` says that another process did not rest
    /// all the while, so that nothing was missed.
    pub(super) fn heard(&self, era: &str, attended: bool) {
        let (now, mut state) = (Instant::now(), self.state.lock());
        if self.was_silent(&state, era, now) {
            state.rest_until = Some(now + self.patience.rest);
            era.clone_into(&mut state.era);
        }
        state.heard = Some(now);
        if attended {
            state.rest_until = None;
        }
    }

    fn was_silent(&self, state: &State, era: &str, now: Instant) -> bool {
        let lately = |heard: Instant| now.saturating_duration_since(heard) <= self.patience.silence;
        state.era != era || !state.heard.is_some_and(lately)
    }
}
