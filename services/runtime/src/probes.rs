//! The listener for those who run the process: `/livez`, `/readyz`, `/metrics`.

use axum::{
    Router,
    http::{
        HeaderMap, HeaderName, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    routing::get,
};

use crate::{health::Health, telemetry};

/// What a process answers at `/livez`.
pub const ALIVE: &str = "alive\n";

/// Answers probes and Prometheus.
pub(crate) fn router(health: Health) -> Router {
    let ready = move || {
        let health = health.clone();
        async move {
            if health.is_ready() {
                (StatusCode::OK, "ready\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
            }
        }
    };
    Router::new()
        .route("/livez", get(|| async { ALIVE }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

async fn metrics(headers: HeaderMap) -> ([(HeaderName, &'static str); 1], String) {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let (kind, text) = telemetry::render_metrics(accept.unwrap_or_default());
    ([(CONTENT_TYPE, kind)], text)
}
