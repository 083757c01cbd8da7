//! Checks that are made at the same time are asked together.
//!
//! The first few go at once and alone, so that nobody waits for company; what
//! comes while they are on their way goes together when one of them is back.
//!
//! | what fails | what happens |
//! |---|---|
//! | one check of several | it is asked again alone, and told what is wrong |
//! | the call of several, or its time is up | each of them is told so: it decides by its policy |
//! | an older service, which knows no such call | each is asked alone |
//! | a caller leaves before its check is on its way | it is not asked |
//! | a caller leaves afterwards | the charge stands, as that of a lone check does |

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use mingle_proto::ratelimit::v1::{
    CheckEachRequest, CheckEachResponse, CheckRequest, CheckResponse,
};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};

/// Calls on their way at once: an instance that hangs holds one of them up, and
/// not those who wait for the others.
const FLIGHTS: usize = 4;
/// Checks of one call, as many as the service takes.
const MOST: usize = 256;

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
}

struct Waiting {
    check: CheckRequest,
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
    Now(Flight),
    /// With others: this tells what became of it.
    Shared(oneshot::Receiver<Told>),
}

impl Gather {
    /// Asks for several by `ask`, within the time it is given.
    pub(super) fn new(ask: Ask) -> Self {
        Self { ask, state: Mutex::default() }
    }

    /// The turn of `check`, which may take `patience`.
    pub(super) fn turn(
        self: &Arc<Self>,
        check: impl Fn() -> CheckRequest,
        patience: Duration,
    ) -> Turn {
        let mut state = self.state.lock();
        if state.flights < FLIGHTS {
            state.flights += 1;
            return Turn::Now(Flight { gather: self.clone(), patience });
        }
        let (told, outcome) = oneshot::channel();
        state.waiting.push_back(Waiting { check: check(), span: Span::current(), told });
        Turn::Shared(outcome)
    }

    /// Those who go next; without any the flight ends.
    fn land(&self) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let mut next = Vec::new();
        while next.len() < MOST
            && let Some(waiting) = state.waiting.pop_front()
        {
            if !waiting.told.is_closed() {
                next.push(waiting);
            }
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
    patience: Duration,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let next = self.gather.land();
        if next.is_empty() {
            return;
        }
        let flight = Self { gather: self.gather.clone(), patience: self.patience };
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
        let asked = (self.gather.ask)(CheckEachRequest { checks }, self.patience);
        let answer = match timeout(self.patience, asked.instrument(span)).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        };
        // Whoever comes from here on need not wait until all are told.
        drop(self);
        tell(waiting, answer);
    }
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
        Err(status) if status.code() == Code::Unimplemented => {
            waiting.into_iter().for_each(|one| _ = one.told.send(Told::Alone));
        }
        Err(status) => {
            waiting.into_iter().for_each(|one| _ = one.told.send(Told::Failed(status.clone())));
        }
    }
}
