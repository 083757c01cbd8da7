//! The span of a request to the HTTP API, a child of what its `traceparent`
//! names.

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use mingle_runtime::telemetry;
use tracing::{Instrument as _, field::Empty};

/// Runs the request in its span. What probes and browsers load has none.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let Some(route) = route.filter(|route| route.as_str().starts_with("/api/")) else {
        return next.run(request).await;
    };
    let span = tracing::info_span!(
        "http",
        otel.name = %format_args!("{} {}", request.method(), route.as_str()),
        otel.kind = "server",
        http.request.method = %request.method(),
        http.route = route.as_str(),
        http.response.status_code = Empty,
    );
    telemetry::adopt(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}
