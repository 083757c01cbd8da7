//! A place for one connection, which callers find full or empty and which a
//! keeper fills.

use std::{sync::Arc, time::Duration};

use bb8_redis::bb8::Pool;
use parking_lot::Mutex;
use redis::RedisError;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    cluster::Redirect,
    fault::{self, Verdict},
    link::Link,
    manager::Manager,
    place,
};
use crate::{Result, backoff::Backoff};

/// Between two beats: the server's time is asked for, and something written.
const BEAT: Duration = Duration::from_secs(1);
/// How long callers wait for the very first attempt.
pub(super) const FIRST: Duration = Duration::from_secs(1);
/// The same refusal is told again after this time.
const TOLD: Duration = Duration::from_secs(60);

enum State {
    Live(Arc<Link>),
    /// A closed connection is usually replaced within a few round trips: until
    /// `mending` callers wait for the first attempt, so that a killed
    /// connection costs no more than the calls in flight. When the attempt has
    /// failed, or the time has passed, nobody waits.
    Away {
        mending: Option<Instant>,
    },
}

/// See the module.
pub(super) struct Slot {
    /// For the log.
    name: String,
    state: watch::Sender<State>,
    /// What a call and a beat wait for an answer.
    timeout: Duration,
    /// What the server refused last, and when that was told.
    told: Mutex<Option<(String, Instant)>>,
}

impl Slot {
    /// Empty. Until the first attempt at a connection has failed, or a second
    /// has passed, callers wait for it.
    pub(super) fn new(name: String, timeout: Duration) -> Self {
        let mending = Some(Instant::now() + FIRST);
        let state = watch::Sender::new(State::Away { mending });
        Self { name, state, timeout, told: Mutex::default() }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(*self.state.borrow(), State::Live(_))
    }

    /// Waits until there is a connection. Cancel safe.
    pub(super) async fn live(&self) {
        let mut changes = self.state.subscribe();
        // It ends with the slot, which is borrowed here.
        let _ = changes.wait_for(|state| matches!(state, State::Live(_))).await;
    }

    /// The connection, if there is one now.
    pub(super) fn held(&self) -> Option<Arc<Link>> {
        match &*self.state.borrow() {
            State::Live(link) => Some(link.clone()),
            State::Away { .. } => None,
        }
    }

    /// The connection. Waits only for a mending, see [`State::Away`].
    ///
    /// **Errors**: Unavailable, at once.
    pub(super) async fn link(&self, deadline: Instant) -> Result<Arc<Link>> {
        let until = match &*self.state.borrow() {
            State::Live(link) => return Ok(link.clone()),
            State::Away { mending: Some(until) } if Instant::now() < *until => *until,
            State::Away { .. } => return Err(fault::away()),
        };
        // Seldom, and large: it would make every call so.
        Box::pin(self.mended(until.min(deadline))).await
    }

    async fn mended(&self, until: Instant) -> Result<Arc<Link>> {
        let mut changes = self.state.subscribe();
        let mended = changes.wait_for(|state| !matches!(state, State::Away { mending: Some(_) }));
        match timeout_at(until, mended).await {
            Ok(Ok(state)) => match &*state {
                State::Live(link) => Ok(link.clone()),
                State::Away { .. } => Err(fault::away()),
            },
            Ok(Err(_)) | Err(_) => Err(fault::away()),
        }
    }

    /// Takes note of what a call on `link` came to that waited `patience` at most.
    pub(super) fn judge<T>(
        &self,
        link: &Arc<Link>,
        patience: Duration,
        outcome: &Result<T, RedisError>,
    ) {
        match outcome {
            Ok(_) => link.heard(),
            Err(error) => match fault::verdict(error) {
                Verdict::Answers => {
                    link.heard();
                    if Redirect::read(error).is_none() {
                        self.tell(error);
                    }
                }
                // The other half of the timeout is for the call itself.
                Verdict::Lost => self.empty(link, error, Some(Instant::now() + self.timeout / 2)),
                // Impatience of one caller says nothing about the server.
                Verdict::Silent if patience < self.timeout / 2 => {}
                // A frozen server takes connections and says nothing on them:
                // there is nothing to wait for.
                Verdict::Silent if link.silent() => self.empty(link, error, None),
                Verdict::Silent => {}
            },
        }
    }

    /// Takes note of a beat: what refuses one takes no writes (no memory, no
    /// disk, no leave, a script that does not end), and is away until it does.
    fn judge_beat(&self, link: &Arc<Link>, outcome: &Result<(), RedisError>) {
        match outcome {
            Err(error) if fault::verdict(error) == Verdict::Answers => {
                self.empty(link, error, None);
            }
            outcome => self.judge(link, self.timeout, outcome),
        }
    }

    /// One line for what the server refuses, however often it does.
    fn tell(&self, error: &RedisError) {
        let Some(refusal) = fault::refusal_of_server(error) else { return };
        let mut told = self.told.lock();
        let known = told.as_ref().is_some_and(|(last, at)| *last == refusal && at.elapsed() < TOLD);
        if !known {
            warn!(slot = self.name, %error, "redis refuses");
            *told = Some((refusal, Instant::now()));
        }
    }

    /// The attempt that callers waited for has failed.
    pub(super) fn give_up(&self) {
        self.state.send_if_modified(|state| match state {
            State::Away { mending } => mending.take().is_some(),
            State::Live(_) => false,
        });
    }

    fn empty(&self, link: &Arc<Link>, why: &RedisError, mending: Option<Instant>) {
        let emptied = self.state.send_if_modified(|state| {
            let held = matches!(state, State::Live(held) if Arc::ptr_eq(held, link));
            if held {
                *state = State::Away { mending };
            }
            held
        });
        link.broken.cancel();
        if emptied {
            warn!(slot = self.name, error = %why, "redis connection lost");
        }
    }

    /// Fills the slot again and again, until `stop`. What is in it then stays
    /// in use.
    pub(super) async fn keep(self: Arc<Self>, pool: Pool<Manager>, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        loop {
            // A lease that is not there in bb8's time is asked for again: the
            // attempts themselves go on meanwhile.
            let leased = tokio::select! {
                () = stop.cancelled() => return,
                leased = pool.get_owned() => leased,
            };
            let Ok(leased) = leased else { continue };
            let link = Arc::clone(&leased);
            self.state.send_replace(State::Live(link.clone()));
            info!(slot = self.name, "redis connected");
            tokio::select! {
                () = stop.cancelled() => return,
                () = link.broken.cancelled() => {}
                () = self.beat(&link) => {}
            }
            if link.has_served() {
                backoff = Backoff::new();
            } else {
                // Something takes connections and breaks them.
                sleep(backoff.next()).await;
            }
        }
    }

    /// It leads to the wrong server, however well that serves.
    fn leave(&self, link: &Arc<Link>) {
        self.empty(link, &place::elsewhere(), Some(Instant::now() + self.timeout / 2));
    }

    /// Beats until the link breaks, or leads to the wrong server.
    async fn beat(&self, link: &Arc<Link>) {
        let mut silent = false;
        loop {
            // After a silence at once, to know soon.
            let wait = if silent { Duration::ZERO } else { BEAT };
            tokio::select! {
                () = sleep(wait) => {}
                () = link.moved() => return self.leave(link),
            }
            let outcome = tokio::select! {
                outcome = link.beat(self.timeout) => outcome,
                () = link.moved() => return self.leave(link),
            };
            silent = outcome.as_ref().is_err_and(RedisError::is_timeout);
            self.judge_beat(link, &outcome);
            if link.broken.is_cancelled() {
                return;
            }
        }
    }
}
