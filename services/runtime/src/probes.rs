//! The listener for those who run the process: `/livez`, `/readyz`, `/metrics`.

use axum::{Router, http::StatusCode, routing::get};

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
        .route("/metrics", get(|| async { telemetry::render_metrics() }))
}
