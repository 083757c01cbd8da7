//! `/api/health`, `/livez`, `/readyz`.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mingle_runtime::grpc::degraded::{self, DEGRADED};
use serde::Serialize;

use super::body::Reply;
use crate::gateway::Gateway;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    /// `ok`, `degraded` or `unavailable`.
    status: &'static str,
    degraded: Vec<String>,
    build: String,
    node: String,
    roles: Vec<String>,
    backends: Vec<Backend>,
}

#[derive(Serialize)]
struct Backend {
    name: String,
    kind: String,
    healthy: bool,
}

/// `GET /api/health`: 200 while the process serves in some mode.
pub(super) async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    let process = gateway.ctx.diagnostics.describe();
    let is_ready = gateway.ctx.health.is_ready();
    let status = match (is_ready, process.degraded.is_empty()) {
        (false, _) => "unavailable",
        (true, false) => "degraded",
        (true, true) => "ok",
    };
    let backend = |backend: mingle_proto::runtime::v1::Backend| Backend {
        name: backend.name,
        kind: backend.kind,
        healthy: backend.healthy,
    };
    let health = Health {
        status,
        degraded: process.degraded,
        build: process.build,
        node: process.node_id,
        roles: process.roles,
        backends: process.backends.into_iter().map(backend).collect(),
    };
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Reply(health)).into_response()
}

/// Marks what is answered while the process is degraded.
pub(super) async fn mark(State(gateway): State<Arc<Gateway>>, mut response: Response) -> Response {
    if let Some(mark) = degraded::mark(&gateway.ctx.health.degraded().borrow()) {
        response.headers_mut().insert(DEGRADED, mark);
    }
    response
}

/// `GET /livez`: the process answers.
pub(super) async fn live() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: send it traffic.
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> (StatusCode, &'static str) {
    if gateway.ctx.health.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
