//! The mark of a degraded reply: the server sets it, the caller remembers it.
//!
//! Each reply of a process that is degraded carries the trailer
//! `mingle-degraded` with the names of its states, so that whoever calls it
//! knows. What it has from a mark it does not mark its own replies with: two
//! processes that call each other would remind one another of it for ever.

use std::{collections::BTreeSet, convert::Infallible};

use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use tokio::sync::watch;
use tonic::body::Body;
use tower::Service;

use super::{Call, Request, Response};

/// The trailer, and the header over HTTP.
pub const DEGRADED: &str = "mingle-degraded";

/// Marks the replies of `inner` with what is degraded.
#[derive(Clone)]
pub struct Mark<S> {
    /// Who replies.
    pub inner: S,
    /// What is degraded; `None` where nobody keeps it.
    pub states: Option<watch::Receiver<BTreeSet<String>>>,
}

impl<S> Service<Request> for Mark<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future = Call>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Call;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Call {
        let call = self.inner.call(request);
        let Some(states) = self.states.clone() else { return call };
        Box::pin(async move {
            let mut response = call.await?;
            let Some(mark) = mark(&states.borrow()) else { return Ok(response) };
            // A failure has no body: its trailers are the headers.
            if response.headers().contains_key("grpc-status") {
                response.headers_mut().insert(DEGRADED, mark);
                return Ok(response);
            }
            Ok(trailing(response, move |trailers| {
                trailers.insert(DEGRADED, mark.clone());
            }))
        })
    }
}

/// The names of states as the value of the mark; `None` when there are none.
fn mark(states: &BTreeSet<String>) -> Option<HeaderValue> {
    if states.is_empty() {
        return None;
    }
    let names: Vec<&str> = states.iter().map(String::as_str).collect();
    HeaderValue::from_str(&names.join(",")).ok()
}

/// The same response of a unary call; `look` sees how it ends.
pub(super) fn ending(
    response: Response,
    mut look: impl FnMut(&HeaderMap) + Send + 'static,
) -> Response {
    if response.headers().contains_key("grpc-status") {
        look(response.headers());
        return response;
    }
    trailing(response, move |trailers| look(trailers))
}

/// The same response; its trailers pass `act`.
fn trailing(response: Response, mut act: impl FnMut(&mut HeaderMap) + Send + 'static) -> Response {
    response.map(|body| {
        Body::new(body.map_frame(move |mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                act(trailers);
            }
            frame
        }))
    })
}
