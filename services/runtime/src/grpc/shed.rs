//! Refuses what would only queue: unary calls and streams each have a bound.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use mingle_proto::errors::v1::Reason;
use tokio::sync::Semaphore;
use tower::Service;

use super::{Call, Request, Response, methods};
use crate::status::{self, Kind};

/// The room for calls in this process, shared by all its services.
#[derive(Clone)]
pub struct Bounds {
    unary: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// For what is called without token: it must not take our peers' room.
    open: Arc<Semaphore>,
}

/// Calls of health and reflection.
const OPEN: usize = 256;

impl Bounds {
    /// Room for so many of each.
    pub fn new(unary: usize, streams: usize) -> Self {
        let room = |bound| Arc::new(Semaphore::new(bound));
        Self { unary: room(unary), streams: room(streams), open: room(OPEN) }
    }

    fn of(&self, path: &str) -> &Arc<Semaphore> {
        if methods::is_open(path) {
            &self.open
        } else if methods::is_streaming(path) {
            &self.streams
        } else {
            &self.unary
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Shed<S> {
    /// What is protected.
    pub inner: S,
    /// Its room.
    pub bounds: Bounds,
}

impl<S> Service<Request> for Shed<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future = Call>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Call;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Call {
        let streaming = methods::is_streaming(request.uri().path());
        let room = self.bounds.of(request.uri().path()).clone();
        let Ok(permit) = room.try_acquire_owned() else {
            metrics::counter!("mingle_rpcs_shed_total").increment(1);
            let message = "the process serves as many calls as it may";
            let status = status::refuse(Kind::Exhausted, Reason::Overloaded, message);
            return Box::pin(async move { Ok(status.into_http()) });
        };
        let call = self.inner.call(request);
        Box::pin(async move {
            let response = call.await?;
            // A stream holds its place until its last frame.
            Ok(if streaming {
                response.map(|body| super::age::holding(body, permit))
            } else {
                response
            })
        })
    }
}
