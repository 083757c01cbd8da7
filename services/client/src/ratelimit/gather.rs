//! Checks that are made at the same time are asked together.
//!
//! The first few go at once and alone. What comes while they are on their way goes
//! together when one of them is back, or when the longest there has waited for a
//! quarter of its time. So a service that answers within three quarters of what its
//! callers wait answers them all.
//!
//! | what fails | what happens |
//! |---|---|
//! | one check of several | it is asked again alone, and told what is wrong |
//! | the call of several, or its time is up | each of them is told so: it decides by its policy |
//! | calls that hang on one instance | those behind them go at a quarter of their time |
//! | an older service, which knows no such call | each is asked alone, for ten seconds without another try |
//! | a caller leaves, or its time is up, before its check is on its way | it is not asked |
//! | a caller leaves afterwards | the charge stands, as that of a lone check does |

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use mingle_proto::ratelimit::v1::{
    CheckEachRequest, CheckEachResponse, CheckRequest, CheckResponse,
};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};

/// Calls on their way at once, but for those that take long.
const FLIGHTS: usize = 4;
/// Checks of one call: a pipeline of as many is short beside what callers wait.
const MOST: usize = 64;
/// How long an older service is not asked for several.
const OLD: Duration = Duration::from_secs(10);

type Asked = Pin<Box<dyn Future<Output = Result<CheckEachResponse, Status>> + Send>>;
type Ask = Box<dyn Fn(CheckEachRequest, Duration) -> Asked + Send + Sync>;

/// Who waits for whom.
pub(super) struct Gather {
    ask: Ask,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flights: usize,
    waiting: VecDeque<Waiting>,
    old_until: Option<Instant>,
}

impl State {
    /// Somebody has waited long enough.
    fn is_impatient(&self, now: Instant) -> bool {
        self.waiting.front().is_some_and(|first| first.impatient <= now)
    }
}

struct Waiting {
    check: CheckRequest,
    /// When it wants to go, whoever is still on the way.
    impatient: Instant,
    /// When its caller decides without an answer.
    due: Instant,
    /// Of the caller; linked with that of the shared call.
    span: Span,
    told: oneshot::Sender<Told>,
}

/// What became of a check that was asked with others.
pub(super) enum Told {
    Answer(CheckResponse),
    Failed(Status),
    /// It is to be asked alone.
    Alone,
}

/// How a check is asked.
pub(super) enum Turn {
    /// By its caller, at once; the flight ends when this is dropped.
    Now(Option<Flight>),
    /// With others.
    Shared(Company),
}

/// A check that goes with others.
pub(super) struct Company {
    gather: Arc<Gather>,
    impatient: Instant,
    told: oneshot::Receiver<Told>,
}

impl Company {
    /// What became of it.
    pub(super) async fn told(mut self) -> Told {
        let told = match timeout_at(self.impatient, &mut self.told).await {
            Ok(told) => told,
            Err(_) => {
                self.gather.depart();
                self.told.await
            }
        };
        told.unwrap_or_else(|_| Told::Failed(Status::unavailable("not asked")))
    }
}

impl Gather {
    /// Asks for several by `ask`, within the time it is given.
    pub(super) fn new(ask: Ask) -> Self {
        Self { ask, state: Mutex::default() }
    }

    /// The turn of `check`, which is worth nothing after `due`.
    pub(super) fn turn(self: &Arc<Self>, check: &CheckRequest, due: Instant) -> Turn {
        let now = Instant::now();
        let at_once = self.at_once(&mut self.state.lock(), now);
        if let Some(turn) = at_once {
            return turn;
        }
        let impatient = now + due.saturating_duration_since(now) / 4;
        let (told, outcome) = oneshot::channel();
        let check = check.clone();
        let waiting = Waiting { check, impatient, due, span: Span::current(), told };
        let mut state = self.state.lock();
        // Those on their way may all be back by now.
        if let Some(turn) = self.at_once(&mut state, now) {
            return turn;
        }
        state.waiting.push_back(waiting);
        Turn::Shared(Company { gather: self.clone(), impatient, told: outcome })
    }

    fn at_once(self: &Arc<Self>, state: &mut State, now: Instant) -> Option<Turn> {
        if state.old_until.is_some_and(|until| now < until) {
            return Some(Turn::Now(None));
        }
        if state.flights >= FLIGHTS {
            return None;
        }
        state.flights += 1;
        Some(Turn::Now(Some(Flight { gather: self.clone() })))
    }

    /// Somebody has waited long enough: they go, and others with them.
    fn depart(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if !state.is_impatient(Instant::now()) {
            return;
        }
        state.flights += 1;
        drop(state);
        // As one that is back already.
        drop(Flight { gather: self.clone() });
    }

    /// Those who go next; without any the flight ends.
    fn land(&self) -> Vec<Waiting> {
        let now = Instant::now();
        // Dropped outside the lock.
        let mut left = Vec::new();
        let mut next = Vec::new();
        let mut state = self.state.lock();
        // Of more than there should be this one is over: the others take those who wait.
        let goes_on = state.flights <= FLIGHTS || state.is_impatient(now);
        while goes_on
            && next.len() < MOST
            && let Some(waiting) = state.waiting.pop_front()
        {
            let stays = !waiting.told.is_closed() && now < waiting.due;
            if stays { next.push(waiting) } else { left.push(waiting) }
        }
        if next.is_empty() {
            state.flights -= 1;
        }
        next
    }
}

/// A call on its way. Dropped, it takes those along who came meanwhile.
pub(super) struct Flight {
    gather: Arc<Gather>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let next = self.gather.land();
        if next.is_empty() {
            return;
        }
        let flight = Self { gather: self.gather.clone() };
        // Outside of a runtime nobody is left who could wait.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(flight.take(next));
        }
    }
}

impl Flight {
    async fn take(self, waiting: Vec<Waiting>) {
        let span = tracing::info_span!("ratelimit.gather", checks = waiting.len());
        waiting.iter().for_each(|one| _ = one.span.follows_from(&span));
        let checks = waiting.iter().map(|one| one.check.clone()).collect();
        let now = Instant::now();
        let patience = waiting.iter().map(|one| one.due.saturating_duration_since(now)).max();
        let patience = patience.unwrap_or_default();
        let asked = (self.gather.ask)(CheckEachRequest { checks }, patience);
        let answer = match timeout(patience, asked.instrument(span)).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        };
        if answer.as_ref().is_err_and(is_old) {
            self.gather.state.lock().old_until = Some(Instant::now() + OLD);
        }
        // Whoever comes from here on need not wait until all are told.
        drop(self);
        tell(waiting, answer);
    }
}

fn is_old(status: &Status) -> bool {
    status.code() == Code::Unimplemented
}

/// Tells each what became of its check. One that left does not need it.
fn tell(waiting: Vec<Waiting>, answer: Result<CheckEachResponse, Status>) {
    match answer {
        Ok(CheckEachResponse { results }) => {
            let mut results = results.into_iter();
            for one in waiting {
                let response = results.next().and_then(|result| result.response);
                _ = one.told.send(response.map_or(Told::Alone, Told::Answer));
            }
        }
        Err(status) if is_old(&status) => {
            waiting.into_iter().for_each(|one| _ = one.told.send(Told::Alone));
        }
        Err(status) => {
            waiting.into_iter().for_each(|one| _ = one.told.send(Told::Failed(status.clone())));
        }
    }
}
