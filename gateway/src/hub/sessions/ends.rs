//! Ends of sessions that presence has yet to hear of.

use std::time::Duration;

use mingle_proto::presence::v1 as pr;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Ends that are kept; beyond, the node has to start anew.
const MAX: usize = 10_000;
/// How long a claim without an answer may still be done: presence goes on with
/// what it began, and an instance that stood still begins it late.
pub(super) const LATE: Duration = Duration::from_secs(10);

/// The end of a session.
#[derive(Debug)]
pub(super) struct End {
    pub(super) request: pr::DisconnectRequest,
    /// Heard before, it may be undone by a claim that is done late.
    pub(super) settles: Instant,
}

impl End {
    pub(super) fn new(session: &pr::Session, settles: Instant) -> Self {
        let request = pr::DisconnectRequest {
            session_id: session.session_id.clone(),
            user_id: session.user_id.clone(),
            generation: session.generation,
            connection_id: session.connection_id.clone(),
        };
        Self { request, settles }
    }
}

/// At most 10,000 ends that must be told again.
///
/// **Guarantees**: none is forgotten. When there are more, those that were kept
/// are given up for a new start of the node, which ends whatever the old start
/// held and is not registered again.
#[derive(Default)]
pub(super) struct Ends(Mutex<State>);

#[derive(Default)]
struct State {
    kept: Vec<End>,
    /// When the node must start anew: what was given up is settled by then.
    anew_at: Option<Instant>,
}

impl Ends {
    pub(super) fn keep(&self, ends: impl IntoIterator<Item = End>) {
        let mut state = self.0.lock();
        for end in ends {
            if state.kept.len() == MAX {
                tracing::warn!(ends = MAX, "presence must hear of too many: the node starts anew");
                let settles = state.kept.drain(..).map(|end| end.settles).max();
                state.anew_at = state.anew_at.max(settles);
            }
            state.kept.push(end);
        }
    }

    /// Takes at most `most` of those that are settled.
    pub(super) fn take(&self, most: usize) -> Vec<End> {
        let now = Instant::now();
        self.0.lock().kept.extract_if(.., |end| end.settles <= now).take(most).collect()
    }

    /// True once, when the node must start anew.
    pub(super) fn ask_anew(&self) -> bool {
        let now = Instant::now();
        self.0.lock().anew_at.take_if(|at| *at <= now).is_some()
    }
}
