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
        let mut told = self.0.lock();
        if is_one(status) && told.is_none_or(|at| at.elapsed() >= EACH) {
            *told = Some(Instant::now());
            let (code, why) = (status.code(), status.message());
            tracing::warn!(namespace, ?code, why, "the cache refuses: all is loaded");
        }
    }
}
