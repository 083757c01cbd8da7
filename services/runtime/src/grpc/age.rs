//! Ends streams that are old, or whose process drains, with UNAVAILABLE: the
//! caller opens another, perhaps elsewhere.

use std::{
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

use crate::status::{self, Kind};

/// The same body, which ends when it is older than `max`, give or take a tenth, and when
/// `drain` is cancelled. It gives `place` back when it is dropped.
pub(super) fn bounded(
    inner: Body,
    max: Duration,
    drain: CancellationToken,
    place: OwnedSemaphorePermit,
) -> Body {
    let age = max.mul_f64(rand::rng().random_range(0.9..1.1));
    let (end, drain) = (tokio::time::sleep(age), drain.cancelled_owned());
    Body::new(Bounded { inner, end, drain, place, ended: false })
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
        place: OwnedSemaphorePermit,
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
