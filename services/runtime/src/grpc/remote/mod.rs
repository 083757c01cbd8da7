//! Calls of roles in other processes: which instance, once more on another
//! where that is safe, and none for a while of one that fails.
//!
//! | what fails | what happens |
//! |---|---|
//! | an instance cannot be reached, or its connection breaks | ejected; a unary call goes to another, within the budget |
//! | a connection answers no ping for 5 s | as if it had broken |
//! | an instance answers UNAVAILABLE | a unary call goes to another, within the budget; the third in a row ejects it where another is not |
//! | an instance is silent until the deadline | DEADLINE_EXCEEDED; the third in a row ejects it |
//! | an answer is marked as degraded | calls that prefer no instance go to others for 2 s, where there are |
//! | an instance is ejected | asked by `grpc.health.v1`, once a second, until it says that it serves; calls go to it again |
//! | it says so, but the next call fails too | ejected for twice as long, up to 60 s, until it answers one |
//! | every instance is ejected | those that answer UNAVAILABLE are tried, or else all as if none were |
//! | a stream breaks | its instance is ejected; told to its reader, who opens another |
//!
//! At most one retry per call, and retries are at most a fifth of the calls of
//! the last ten seconds, beyond ten a second: an outage is not multiplied. A
//! retried call may have run twice; every RPC is idempotent by a request key
//! or a generation.

mod address;
mod endpoint;
mod group;
mod instance;
mod look;
mod pool;
mod question;
mod trust;

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt as _, Full, Limited};
use mingle_proto::errors::v1::Reason;
use tonic::{Code, body::Body};
use tower::{
    Service,
    retry::budget::{Budget as _, TpsBudget},
};

pub use address::{Address, Wrong};
use endpoint::Endpoint;
pub use instance::{Instance, Silence};
pub(crate) use look::look;
pub use look::{Said, Seen, is_mingle};
use pool::Pool;

use super::{Call, Request, Response, degraded, methods};
use crate::status::{self, Kind};

/// The metadata that names what a call is about, such as a room: calls about
/// the same thing prefer the same instance. Correctness never depends on it.
pub const AFFINITY: &str = "mingle-affinity";

/// A request that is kept for a retry; larger ones are refused.
const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// The instances of one role.
#[derive(Clone)]
pub struct Remote {
    role: &'static str,
    pool: Arc<Pool>,
    budget: Arc<TpsBudget>,
}

impl Remote {
    /// Reaches `role` at `addresses`; connects when it is called. Must be
    /// called where tasks can be spawned.
    pub fn new(role: &'static str, addresses: Vec<Address>) -> Self {
        let budget = Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2));
        Self { role, pool: Pool::start(role, addresses), budget }
    }

    /// Each of them as it is known now, to be asked with `bearer`.
    pub(super) fn instances(&self, bearer: Option<&HeaderValue>) -> Vec<Instance> {
        let endpoints = self.pool.endpoints();
        endpoints.iter().map(|one| one.instance(bearer.cloned())).collect()
    }

    async fn stream(&self, request: Request) -> Response {
        match self.pool.pick(key(&request), None) {
            Some(endpoint) => {
                let answer = endpoint.call(request).await;
                self.settle(answer.map(|stream| endpoint.watch(stream)))
            }
            None => self.settle(None),
        }
    }

    async fn unary(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
            let message = format!("the request exceeds {MAX_REQUEST} bytes");
            return status::refuse(Kind::Invalid, Reason::TooLong, message).into_http();
        };
        let body = body.to_bytes();
        let key = head.headers.get(AFFINITY).map(|key| key.as_bytes().to_vec());
        let attempt = || again(&head, &body);
        self.budget.deposit();
        let Some(first) = self.pool.pick(key.as_deref(), None) else {
            return self.settle(None);
        };
        let answer = watched(&first, first.call(attempt()).await);
        if !is_unavailable(answer.as_ref()) || !self.budget.withdraw() {
            return self.settle(answer);
        }
        metrics::counter!("mingle_peer_retries_total", "role" => self.role).increment(1);
        match self.pool.pick(key.as_deref(), Some(&first)) {
            Some(second) => self.settle(watched(&second, second.call(attempt()).await)),
            None => self.settle(answer),
        }
    }

    fn settle(&self, answer: Option<Response>) -> Response {
        answer.unwrap_or_else(|| {
            let message = format!("no instance of {} can be reached", self.role);
            status::refuse(Kind::Unavailable, Reason::Unavailable, message).into_http()
        })
    }
}

impl Service<Request> for Remote {
    type Response = Response;
    type Error = Infallible;
    type Future = Call;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Call {
        let remote = self.clone();
        Box::pin(async move {
            Ok(if methods::is_streaming(request.uri().path()) {
                remote.stream(request).await
            } else {
                remote.unary(request).await
            })
        })
    }
}

/// Says what the metrics of this module mean.
pub(crate) fn describe() {
    group::describe();
}

/// The same answer; its end is told to whom it is from.
fn watched(from: &Arc<Endpoint>, answer: Option<Response>) -> Option<Response> {
    let (answer, from) = (answer?, from.clone());
    // A service may say so itself, ahead of its answer.
    from.look(answer.headers());
    Some(degraded::ending(answer, move |trailers| from.look(trailers)))
}

fn key(request: &Request) -> Option<&[u8]> {
    request.headers().get(AFFINITY).map(http::HeaderValue::as_bytes)
}

fn again(head: &http::request::Parts, body: &Bytes) -> Request {
    let mut request = http::Request::new(Body::new(Full::new(body.clone())));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers.clone();
    request
}

/// No answer, or one that says so before anything else.
fn is_unavailable(answer: Option<&Response>) -> bool {
    answer.is_none_or(|answer| {
        let code = answer.headers().get("grpc-status").map(http::HeaderValue::as_bytes);
        code.is_some_and(|code| Code::from_bytes(code) == Code::Unavailable)
    })
}
