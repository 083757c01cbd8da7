//! Refusals with a body that says what they are.
//!
//! **Source**: RFC 9457; the types of draft-ietf-httpapi-ratelimit-headers (2025-09).

use std::time::Duration;

use http::{HeaderValue, header};
use serde_json::json;

use super::layer::Refusal;

const TYPES: &str = "https://iana.org/assignments/http-problem-types";
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Gives what [`RateLimitLayer`](super::RateLimitLayer) answered in place of a service a
/// body of `application/problem+json`: `type`, `title`, `status`, `detail`,
/// `violated-policies` and, when it is worth to come again, `retryAfterMs`. All other
/// answers, and those to gRPC, stay as they are. To be put around the layer, by
/// `MapResponseLayer` of tower or `map_response` of axum.
pub fn problem<B: From<String>>(response: http::Response<B>) -> http::Response<B> {
    let Some(refusal) = response.extensions().get::<Refusal>() else { return response };
    // A gRPC answer is 200, whatever it says.
    if response.status().is_success() {
        return response;
    }
    let status = response.status();
    let mut told = json!({
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
    });
    let (kind, detail, of) = match refusal {
        Refusal::Denied { limit, verdict } => {
            (Some("quota-exceeded"), "too many requests", Some((limit, verdict)))
        }
        Refusal::Closed { limit, verdict } => {
            let detail = "the limit cannot be counted now";
            (Some("temporary-reduced-capacity"), detail, Some((limit, verdict)))
        }
        Refusal::Broken(_) => (None, "the limit cannot be charged", None),
    };
    told["detail"] = detail.into();
    if let Some(kind) = kind {
        told["type"] = format!("{TYPES}#{kind}").into();
    }
    if let Some((limit, verdict)) = of {
        told["violated-policies"] = json!([limit]);
        if verdict.retry_after != Duration::MAX {
            let ms = verdict.retry_after.as_nanos().div_ceil(1_000_000);
            told["retryAfterMs"] = u64::try_from(ms).unwrap_or(u64::MAX).into();
        }
    }
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, PROBLEM);
    http::Response::from_parts(parts, told.to_string().into())
}
