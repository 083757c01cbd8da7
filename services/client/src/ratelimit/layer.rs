//! One limit before a tower service, with the headers that tell of it.
//!
//! **Source**: draft-ietf-httpapi-ratelimit-headers (2025-09).

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use tonic::{
    Code, Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as ResponseBody, Bytes, StdError},
};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Layer, Service};

use super::{
    limiter::{Limiter, Verdict},
    policy::Policy,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Of no specification, and older: the quota, what is left of it, and in how many
/// seconds all of it is there.
const OLDER: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// Charges one limit for each request, by the subject that `key` finds in it;
/// where it finds none the request goes on uncharged.
///
/// Answers 429 without a body, or RESOURCE_EXHAUSTED RATE_LIMITED to gRPC, with
/// `Retry-After`; 503 or UNAVAILABLE, with `Retry-After` too, when nobody can
/// count and the limit is closed then; 500 or INTERNAL when the service refuses
/// the call itself, such as a limit that it does not know. Every answer of a
/// request that was counted has `RateLimit-Policy` and `RateLimit`; one that does not come
/// from the inner service has its [`Refusal`] among the extensions: [`problem`] makes a
/// body of it, or one's own function.
///
/// [`problem`]: super::problem
#[derive(Clone)]
pub struct RateLimitLayer<T, K> {
    limiter: Limiter<T>,
    policy: Arc<Policy>,
    key: K,
    tells_older: bool,
}

impl<T, K> RateLimitLayer<T, K>
where
    K: Fn(&Parts) -> Option<String>,
{
    /// The limit `policy` for whom `key` names.
    pub fn new(limiter: Limiter<T>, policy: Policy, key: K) -> Self {
        Self { limiter, policy: Arc::new(policy), key, tells_older: false }
    }

    /// The same, with the older `X-RateLimit-Limit`, `-Remaining` and `-Reset` (in
    /// seconds) beside the others, for clients that know no other.
    #[must_use]
    pub fn with_older_headers(self) -> Self {
        Self { tells_older: true, ..self }
    }
}

impl<S, T: Clone, K: Clone> Layer<S> for RateLimitLayer<T, K> {
    type Service = RateLimit<S, T, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner, layer: self.clone() }
    }
}

/// Why the layer answered in place of the inner service.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The limit denies the request.
    Denied {
        /// Its name.
        limit: String,
        /// What it says.
        verdict: Verdict,
    },
    /// Nobody can count, and the limit is closed then.
    Closed {
        /// Its name.
        limit: String,
        /// What this process says.
        verdict: Verdict,
    },
    /// The service refused to charge the limit.
    Broken(Status),
}

/// The service that [`RateLimitLayer`] makes.
#[derive(Clone)]
pub struct RateLimit<S, T, K> {
    inner: S,
    layer: RateLimitLayer<T, K>,
}

impl<S, T, K, B, R> Service<http::Request<B>> for RateLimit<S, T, K>
where
    S: Service<http::Request<B>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    T: GrpcService<Body> + Clone + Send + Sync + 'static,
    T::Future: Send,
    T::Error: Into<StdError>,
    T::ResponseBody: ResponseBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as ResponseBody>::Error: Into<StdError> + Send,
    K: Fn(&Parts) -> Option<String> + Clone + Send + Sync + 'static,
    B: Send + 'static,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // The one that was found ready is taken, a clone stays.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let layer = self.layer.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Some(subject) = (layer.key)(&parts) else {
                return inner.call(http::Request::from_parts(parts, body)).await;
            };
            let checked = layer.limiter.check_once(&layer.policy, &subject, 1).await;
            let verdict = match checked {
                Ok(verdict) => verdict,
                Err(status) => {
                    let limit = &layer.policy.limit;
                    tracing::error!(%status, limit, "the limit cannot be charged");
                    return Ok(broken(&parts, status));
                }
            };
            let mut response = if verdict.allowed {
                inner.call(http::Request::from_parts(parts, body)).await?
            } else {
                denied(&parts, &layer.policy.limit, verdict)
            };
            tell(response.headers_mut(), &layer.policy, &verdict);
            if layer.tells_older && !verdict.closed {
                let told = [verdict.quota, verdict.remaining, seconds(verdict.reset_after)];
                for (name, value) in OLDER.into_iter().zip(told) {
                    response.headers_mut().insert(name, value.into());
                }
            }
            Ok(response)
        })
    }
}

fn is_grpc(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/grpc"))
}

fn denied<R: Default>(parts: &Parts, limit: &str, verdict: Verdict) -> http::Response<R> {
    let limit = limit.to_owned();
    let (refusal, status, code, reason, message) = if verdict.closed {
        let message = "the limit cannot be counted now";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        (Refusal::Closed { limit, verdict }, status, Code::Unavailable, "UNAVAILABLE", message)
    } else {
        let (status, code) = (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted);
        (Refusal::Denied { limit, verdict }, status, code, "RATE_LIMITED", "too many requests")
    };
    let mut response = if is_grpc(parts) {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "mingle", HashMap::new());
        if verdict.retry_after != Duration::MAX {
            details.set_retry_info(Some(verdict.retry_after));
        }
        Status::with_error_details(code, message, details).into_http()
    } else {
        with_status(status)
    };
    response.extensions_mut().insert(refusal);
    response
}

fn broken<R: Default>(parts: &Parts, why: Status) -> http::Response<R> {
    let mut response = if is_grpc(parts) {
        Status::internal("internal error").into_http()
    } else {
        with_status(StatusCode::INTERNAL_SERVER_ERROR)
    };
    response.extensions_mut().insert(Refusal::Broken(why));
    response
}

fn with_status<R: Default>(status: StatusCode) -> http::Response<R> {
    let mut response = http::Response::new(R::default());
    *response.status_mut() = status;
    response
}

fn tell(headers: &mut HeaderMap, policy: &Policy, verdict: &Verdict) {
    let (name, quota) = (&policy.limit, verdict.quota);
    let (window, reset) = (seconds(policy.window), seconds(verdict.reset_after));
    let remaining = verdict.remaining;
    // What nobody counts has no number.
    if !verdict.closed {
        set(headers, RATE_LIMIT_POLICY, &format!("\"{name}\";q={quota};w={window}"));
        set(headers, RATE_LIMIT, &format!("\"{name}\";r={remaining};t={reset}"));
    }
    if !verdict.allowed && verdict.retry_after != Duration::MAX {
        set(headers, header::RETRY_AFTER, &seconds(verdict.retry_after).to_string());
    }
}

/// Rounded up: after it, it is so.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// A name that no header can hold is not told.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
