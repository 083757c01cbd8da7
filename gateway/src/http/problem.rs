//! Faults as `application/problem+json`.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use mingle_proto::{errors::v1::Reason, gateway::v1 as pb};
use mingle_runtime::status::Kind;
use serde::Serialize;

use crate::fault::Fault;

/// Of draft-ietf-httpapi-ratelimit-headers (2025-09).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// The members of RFC 9457, then those of the frames' `error`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    title: &'static str,
    status: u16,
    detail: String,
    code: String,
    reason: String,
    field: String,
    message: String,
    retry_after_ms: u32,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        self.count();
        let status = match self.reason.as_str() {
            "METHOD_NOT_ALLOWED" => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::from_u16(self.kind.http()).unwrap_or_default(),
        };
        let title = status.canonical_reason().unwrap_or("Error");
        let pb::Error { code, reason, field, message, retry_after_ms } = self.into();
        // The others are about:blank, as without it.
        let kind = (status == StatusCode::TOO_MANY_REQUESTS && reason == "RATE_LIMITED")
            .then_some(QUOTA_EXCEEDED);
        let problem = Problem {
            kind,
            title,
            status: status.as_u16(),
            detail: message.clone(),
            code,
            reason,
            field,
            message,
            retry_after_ms,
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if retry_after_ms > 0 {
            // Whole seconds, rounded up: never too early.
            headers.insert(header::RETRY_AFTER, retry_after_ms.div_ceil(1000).into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A route that is there, with another method.
pub(super) async fn method_not_allowed() -> Fault {
    Fault::new(Kind::Precondition, Reason::MethodNotAllowed, "the route does not take this method")
}
