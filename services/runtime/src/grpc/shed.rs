//! Refuses what would only queue: unary calls and streams each have a bound.

use std::sync::Arc;

use mingle_proto::errors::v1::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::methods;
use crate::status::{self, Kind};

/// The room for calls in this process, shared by all its services.
#[derive(Clone)]
pub(super) struct Bounds {
    unary: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// For what is called without token: it must not take our peers' room.
    open: Arc<Semaphore>,
}

/// Calls of health and reflection.
const OPEN: usize = 256;

impl Bounds {
    /// Room for so many of each.
    pub(super) fn new(unary: usize, streams: usize) -> Self {
        let room = |bound| Arc::new(Semaphore::new(bound));
        Self { unary: room(unary), streams: room(streams), open: room(OPEN) }
    }

    /// A place for a call, until it is dropped.
    ///
    /// **Errors**: RESOURCE_EXHAUSTED when all are taken.
    pub(super) fn place(&self, kind: methods::Kind) -> Result<OwnedSemaphorePermit, Status> {
        let room = match kind {
            methods::Kind::Unary => &self.unary,
            methods::Kind::Stream => &self.streams,
            methods::Kind::Open => &self.open,
        };
        room.clone().try_acquire_owned().map_err(|_| {
            metrics::counter!("mingle_rpcs_shed_total").increment(1);
            let message = "the process serves as many calls as it may";
            status::refuse(Kind::Exhausted, Reason::Overloaded, message)
        })
    }
}
