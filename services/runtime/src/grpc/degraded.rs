//! The mark of a degraded reply: the server sets it, the caller remembers it.
//!
//! Each reply of a process that is degraded carries the trailer
//! `mingle-degraded` with the names of its states, so that whoever calls it
//! knows. A process shows for its part, under the name of a role, that the role
//! answers so, or refuses three calls in a row: until five seconds after the last
//! such answer, so that one of two instances does not make it flicker.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

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
/// Refusals in a row: one that was slow, or met a restart, is not worth a word.
const REFUSALS: u32 = 3;

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
    /// In a row.
    refusals: Arc<AtomicU32>,
}

impl Standing {
    pub(crate) fn new(role: &'static str, health: Health) -> Self {
        Self { role, health, until: Arc::default(), refusals: Arc::default() }
    }

    /// Looks at a reply as it passes.
    pub(crate) fn observe(&self, path: &str, response: Response) -> Response {
        if response.headers().contains_key("grpc-status") || methods::is_streaming(path) {
            self.judge(response.headers());
            return response;
        }
        let standing = self.clone();
        trailing(response, move |trailers| standing.judge(trailers))
    }

    fn judge(&self, trailers: &HeaderMap) {
        if !is_refusal(trailers) {
            self.refusals.store(0, Relaxed);
        } else if self.refusals.fetch_add(1, Relaxed) + 1 >= REFUSALS {
            self.note();
        }
        if trailers.contains_key(DEGRADED) {
            self.note();
        }
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

/// Somebody is away, or does not answer in time.
fn is_refusal(trailers: &HeaderMap) -> bool {
    let code = trailers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    matches!(code, Some(Code::Unavailable | Code::DeadlineExceeded))
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

#[cfg(test)]
mod tests {
    use tonic::Status;
    use tonic_health::server::HealthReporter;

    use super::*;

    fn refused(code: Code) -> Response {
        Status::new(code, "as told").into_http()
    }

    /// Lets tasks begin, and see the time that passed.
    async fn pass(time: Duration) {
        tokio::task::yield_now().await;
        tokio::time::advance(time).await;
        tokio::task::yield_now().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_is_degraded_by_a_mark_or_three_refusals_in_a_row_for_a_while() {
        let health = Health::new(HealthReporter::new());
        let standing = Standing::new("chat", health.clone());
        let is_degraded = || health.degraded().borrow().contains("chat");
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::NotFound, Code::Unavailable] {
            standing.observe("/a/B", refused(code));
            assert!(!is_degraded(), "{code}");
        }
        standing.observe("/a/B", refused(Code::Unavailable));
        standing.observe("/a/B", refused(Code::Unavailable));
        assert!(is_degraded());
        pass(REMEMBERED / 2).await;
        let mut marked = refused(Code::NotFound);
        marked.headers_mut().insert(DEGRADED, HeaderValue::from_static("redis"));
        standing.observe("/a/B", marked);
        pass(REMEMBERED * 3 / 4).await;
        assert!(is_degraded(), "remembered from the last one on");
        pass(REMEMBERED / 2).await;
        assert!(!is_degraded());
    }
}
