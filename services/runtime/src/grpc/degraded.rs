//! The mark of a degraded reply: the server sets it, the caller remembers it.
//!
//! Each reply of a process that is degraded carries the trailer
//! `mingle-degraded` with the names of its states, so that whoever calls it
//! knows. A process shows for its part, under the name of a role, that the role
//! answers so, or not at all: until five seconds after the last such answer, so
//! that one of two instances does not make it flicker.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tonic::{Code, body::Body};
use tower::Service;

use super::{Call, Request, Response, methods};
use crate::health::Health;

/// The trailer, and the header over HTTP.
pub const DEGRADED: &str = "mingle-degraded";

/// A role is remembered as degraded for so long after an answer that says so.
const REMEMBERED: Duration = Duration::from_secs(5);

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
pub fn mark(states: &BTreeSet<String>) -> Option<HeaderValue> {
    if states.is_empty() {
        return None;
    }
    let names: Vec<&str> = states.iter().map(String::as_str).collect();
    HeaderValue::from_str(&names.join(",")).ok()
}

/// How a role stands that is called in other processes.
#[derive(Clone)]
pub(crate) struct Standing {
    role: &'static str,
    health: Health,
    /// Until when it is remembered as degraded.
    until: Arc<Mutex<Option<Instant>>>,
}

impl Standing {
    pub(crate) fn new(role: &'static str, health: Health) -> Self {
        Self { role, health, until: Arc::default() }
    }

    /// Looks at a reply as it passes.
    pub(crate) fn observe(&self, path: &str, response: Response) -> Response {
        if is_degraded(response.headers()) {
            self.note();
        } else if !methods::is_streaming(path) {
            let standing = self.clone();
            return trailing(response, move |trailers| {
                if is_degraded(trailers) {
                    standing.note();
                }
            });
        }
        response
    }

    fn note(&self) {
        let known = self.until.lock().replace(Instant::now() + REMEMBERED);
        if known.is_none() {
            self.health.set_degraded(self.role, true);
            tokio::spawn(self.clone().forget());
        }
    }

    async fn forget(self) {
        loop {
            let until = {
                let mut until = self.until.lock();
                until.take_if(|until| *until <= Instant::now());
                *until
            };
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return self.health.set_degraded(self.role, false),
            }
        }
    }
}

/// Marked, or refused because somebody is away.
fn is_degraded(headers: &HeaderMap) -> bool {
    let code = headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    headers.contains_key(DEGRADED)
        || matches!(code, Some(Code::Unavailable | Code::DeadlineExceeded))
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
