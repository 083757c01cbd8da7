//! The HTTP API: JSON of the same protos, errors as problem+json (RFC 9457).

mod access;
mod body;
mod cache;
mod cors;
mod dev;
mod documents;
mod matching;
mod page;
mod presence;
mod problem;
mod rooms;
mod routes;
mod stats;
pub(crate) mod status;
mod trace;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use mingle_runtime::telemetry;

use self::routes::Routes;
use crate::{gateway::Gateway, throttle, ws::upgrade::upgrade};

/// Every route; that of development tokens only where it `hands_out_tokens`.
fn routes(hands_out_tokens: bool) -> Routes {
    let routes = Routes::default()
        .get("/ws", upgrade)
        .get("/api/rooms", rooms::list)
        .post("/api/rooms", rooms::create)
        .get("/api/rooms/{id}/messages", rooms::history)
        .post("/api/rooms/{id}/messages", rooms::send)
        .post("/api/match/tickets", matching::create)
        .get("/api/match/tickets/{id}", matching::read)
        .delete("/api/match/tickets/{id}", matching::cancel)
        .get("/api/match/pools/{pool}", matching::pool)
        .get("/api/presence", presence::read)
        .get("/api/presence/count", presence::count)
        .get("/api/health", status::health)
        .get("/api/health/redis", stats::redis_health)
        .get("/api/stats/system", stats::system)
        .get("/api/stats/performance", stats::performance)
        .get("/api/admin/redis/metrics", stats::redis_metrics)
        .delete("/api/admin/cache/clear", cache::clear)
        .get("/admin/stats", stats::admin)
        .get("/api/openapi.json", documents::openapi)
        .get("/api/asyncapi.json", documents::asyncapi)
        .get("/health", status::health)
        .get("/livez", status::live)
        .get("/readyz", status::ready);
    if hands_out_tokens { routes.post("/api/dev/token", dev::token) } else { routes }
}

/// The routes, the page, and what stands before them.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    let limit = DefaultBodyLimit::max(gateway.config.limits.http_body_bytes);
    let router = Router::from(routes(gateway.hands_out_tokens()))
        .fallback(page::serve)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(limit);
    let mark = middleware::map_response_with_state(gateway.clone(), status::mark);
    let mut router = throttle::guard(router, &gateway).layer(mark);
    if telemetry::is_exporting() {
        router = router.layer(middleware::from_fn(trace::trace));
    }
    if let Some(cors) = cors::layer(&gateway.config.allowed_origins) {
        router = router.layer(cors);
    }
    router.with_state(gateway)
}
