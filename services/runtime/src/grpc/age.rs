//! Ends streams that are old, or whose process drains, with UNAVAILABLE: the
//! caller opens another, perhaps elsewhere.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Frame;
use mingle_proto::errors::v1::Reason;
use pin_project_lite::pin_project;
use rand::Rng as _;
use tokio::{sync::OwnedSemaphorePermit, time::Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body};
use tower::Service;

use super::{Call, Request, Response, methods};
use crate::status::{self, Kind};

/// See the module.
#[derive(Clone)]
pub struct Age<S> {
    /// What streams.
    pub inner: S,
    /// How old a stream may become, give or take a tenth.
    pub max: Duration,
    /// Cancelled when the process drains.
    pub drain: CancellationToken,
}

impl<S> Service<Request> for Age<S>
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
        if !methods::is_streaming(request.uri().path()) {
            return self.inner.call(request);
        }
        let age = self.max.mul_f64(rand::rng().random_range(0.9..1.1));
        let drain = self.drain.clone();
        let call = self.inner.call(request);
        Box::pin(async move {
            Ok(call.await?.map(|inner| {
                Body::new(Bounded {
                    inner,
                    end: tokio::time::sleep(age),
                    drain: drain.cancelled_owned(),
                    ended: false,
                })
            }))
        })
    }
}

pin_project! {
    /// A response body with an end.
    struct Bounded {
        #[pin]
        inner: Body,
        #[pin]
        end: Sleep,
        #[pin]
        drain: WaitForCancellationFutureOwned,
        ended: bool,
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        let drained = this.drain.poll(cx).is_ready();
        if drained || this.end.poll(cx).is_ready() {
            *this.ended = true;
            let reason = if drained { Reason::Draining } else { Reason::Unavailable };
            let status = status::refuse(Kind::Unavailable, reason, "open the stream again");
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))));
        }
        this.inner.poll_frame(cx)
    }

    /// A failure has no body, and has to end with its headers: some clients take nothing
    /// else for one.
    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }
}

fn trailers(status: &Status) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    // Only a message that is no header value fails, and ours is.
    let _ = status.add_header(&mut headers);
    headers
}

pin_project! {
    struct Holding {
        #[pin]
        inner: Body,
        permit: OwnedSemaphorePermit,
    }
}

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// A body that gives `permit` back when it is dropped.
pub(super) fn holding(inner: Body, permit: OwnedSemaphorePermit) -> Body {
    Body::new(Holding { inner, permit })
}
