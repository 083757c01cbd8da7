//! Lets in callers that hold the internal token, where one is set. The token
//! travels as `authorization: Bearer`, as operators' tools send it.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use mingle_proto::errors::v1::Reason;
use tower::Service;

use super::{Call, Request, Response, methods};
use crate::{
    config::Secret,
    status::{self, Kind},
};

/// See the module.
#[derive(Clone)]
pub struct Auth<S> {
    /// What is guarded.
    pub inner: S,
    /// The token; empty: everybody is let in.
    pub token: Arc<Secret>,
}

impl<S> Service<Request> for Auth<S>
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
        let open = self.token.is_empty() || methods::is_open(request.uri().path());
        if open || holds(request.headers(), &self.token) {
            return self.inner.call(request);
        }
        let message = "the internal token is missing or wrong";
        let status = status::refuse(Kind::Unauthenticated, Reason::TokenInvalid, message);
        Box::pin(async move { Ok(status.into_http()) })
    }
}

fn holds(headers: &HeaderMap, token: &Secret) -> bool {
    let value = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let presented = value.strip_prefix(b"Bearer ").unwrap_or_default();
    same(presented, token.expose().as_bytes())
}

/// Compares without telling by its time how much agrees.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

/// The header that proves us to our peers; `None` without token.
pub(super) fn bearer(token: &Secret) -> Option<HeaderValue> {
    if token.is_empty() {
        return None;
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
