//! Lets in callers that hold the internal token, where one is set. The token
//! travels as `authorization: Bearer`, as operators' tools send it.

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use mingle_proto::errors::v1::Reason;
use tonic::Status;

use crate::{
    config::Secret,
    status::{self, Kind},
};

/// Lets in who holds `token`, and everybody where it is empty.
///
/// **Errors**: UNAUTHENTICATED.
pub(super) fn admit(token: &Secret, headers: &HeaderMap) -> Result<(), Status> {
    if token.is_empty() || holds(headers, token) {
        return Ok(());
    }
    let message = "the internal token is missing or wrong";
    Err(status::refuse(Kind::Unauthenticated, Reason::TokenInvalid, message))
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
