//! The mark of a degraded reply: the server sets it, the caller remembers it.
//!
//! Each reply of a process that is degraded carries the trailer
//! `mingle-degraded` with the names of its states, so that whoever calls it
//! knows. What it has from a mark it does not mark its own replies with: two
//! processes that call each other would remind one another of it for ever.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use tonic::body::Body;

use super::Response;

/// The trailer, and the header over HTTP.
pub const DEGRADED: &str = "mingle-degraded";

/// The same response, marked with what is degraded.
pub(super) fn marked(mut response: Response, states: &BTreeSet<String>) -> Response {
    let Some(mark) = mark(states) else { return response };
    // A failure has no body: its trailers are the headers.
    if response.headers().contains_key("grpc-status") {
        response.headers_mut().insert(DEGRADED, mark);
        return response;
    }
    trailing(response, move |trailers| {
        trailers.insert(DEGRADED, mark.clone());
    })
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
