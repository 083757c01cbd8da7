//! How the deployment fares: `/api/stats`, `/api/health/redis` and what operators
//! read of it.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use mingle_proto::gateway::v1 as pb;

use super::{
    access::{Admin, Caller},
    body::Reply,
};
use crate::{gateway::Gateway, stats};

/// `GET /api/stats/system`
pub(super) async fn system(
    State(gateway): State<Arc<Gateway>>,
    _caller: Caller,
) -> Reply<pb::SystemStats> {
    Reply(stats::system(&*gateway.stats.look().await))
}

/// `GET /api/stats/performance`
pub(super) async fn performance(
    State(gateway): State<Arc<Gateway>>,
    _caller: Caller,
) -> Reply<pb::PerformanceStats> {
    Reply(stats::performance(&*gateway.stats.look().await))
}

/// `GET /api/health/redis`: 200 while the way to it works for some process.
pub(super) async fn redis_health(State(gateway): State<Arc<Gateway>>) -> Response {
    let health = stats::health(&*gateway.stats.look().await);
    let is_away = health.status == "unavailable";
    let code = if is_away { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Reply(health)).into_response()
}

/// `GET /admin/stats`
pub(super) async fn admin(
    State(gateway): State<Arc<Gateway>>,
    _admin: Admin,
) -> Reply<pb::AdminStats> {
    Reply(stats::admin(&*gateway.stats.look().await))
}

/// `GET /api/admin/redis/metrics`
pub(super) async fn redis_metrics(
    State(gateway): State<Arc<Gateway>>,
    _admin: Admin,
) -> Reply<pb::RedisMetrics> {
    Reply(stats::metrics(&*gateway.stats.look().await))
}
