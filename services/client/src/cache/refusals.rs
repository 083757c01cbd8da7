//! What the service refuses however often it is asked: a mistake of whoever asks, which
//! would else be seen by the load on the source alone.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tonic::{Code, Status};

/// Between two that are told.
const EACH: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Option<Instant>>);

/// True where the same call is refused again.
pub(super) fn is_one(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::OutOfRange
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented
    )
}

impl Refusals {
    pub(super) fn tell(&self, namespace: &str, status: &Status) {
        if is_one(status) && self.is_due() {
            let (code, why) = (status.code(), status.message());
            tracing::warn!(namespace, ?code, why, "the cache refuses: that is loaded each time");
        }
    }

    fn is_due(&self) -> bool {
        let mut told = self.0.lock();
        let is_due = told.is_none_or(|at| at.elapsed() >= EACH);
        if is_due {
            *told = Some(Instant::now());
        }
        is_due
    }
}
