//! The HTTP API: JSON of the same protos, errors as problem+json (RFC 9457).

mod access;
mod body;
mod dev;
mod matching;
mod page;
mod presence;
mod problem;
mod rooms;
mod status;
mod trace;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use mingle_runtime::telemetry;

use crate::{gateway::Gateway, throttle, ws::upgrade::upgrade};

/// Every route of the gateway.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    let limit = DefaultBodyLimit::max(gateway.config.limits.http_body_bytes);
    let mut router = Router::new()
        .route("/ws", get(upgrade))
        .route("/api/rooms", get(rooms::list).post(rooms::create))
        .route("/api/rooms/{id}/messages", get(rooms::history).post(rooms::send))
        .route("/api/match/tickets", post(matching::create))
        .route("/api/match/tickets/{id}", get(matching::read).delete(matching::cancel))
        .route("/api/match/pools/{pool}", get(matching::pool))
        .route("/api/presence", get(presence::read))
        .route("/api/presence/count", get(presence::count))
        .route("/api/health", get(status::health))
        .route("/health", get(status::health))
        .route("/livez", get(status::live))
        .route("/readyz", get(status::ready));
    if gateway.hands_out_tokens() {
        router = router.route("/api/dev/token", post(dev::token));
    }
    let router = router
        .fallback(page::serve)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(limit);
    let mark = middleware::map_response_with_state(gateway.clone(), status::mark);
    let mut router = throttle::guard(router, &gateway).layer(mark);
    if telemetry::is_exporting() {
        router = router.layer(middleware::from_fn(trace::trace));
    }
    router.with_state(gateway)
}
