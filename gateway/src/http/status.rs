//! `/api/health`, `/livez`, `/readyz`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode};
use mingle_runtime::{
    Role,
    grpc::degraded::DEGRADED,
    probes::ALIVE,
    states::{Fault, States},
};
use serde::Serialize;

use super::body::Reply;
use crate::gateway::Gateway;

const OK: &str = "ok";
const IS_DEGRADED: &str = "degraded";
const UNAVAILABLE: &str = "unavailable";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    /// `ok`, `degraded` or `unavailable`.
    status: &'static str,
    /// Names of the services that are not well.
    degraded: Vec<String>,
    /// Each service that the gateway calls, wherever it runs.
    services: BTreeMap<&'static str, Service>,
    build: String,
    node: String,
    /// The roles of this process.
    roles: Vec<String>,
    backends: Vec<Backend>,
}

#[derive(Serialize)]
struct Service {
    /// `ok`, `degraded` or `unavailable`: no instance answers.
    status: &'static str,
    /// What is away that it needs: `redis`, `database`, …
    causes: Vec<String>,
}

impl Service {
    fn of(fault: Option<&Fault>) -> Self {
        let causes = fault.map(|fault| fault.causes.iter().cloned().collect());
        Self { status: of(fault), causes: causes.unwrap_or_default() }
    }
}

/// How a role is of which that much is known.
pub(crate) fn of(fault: Option<&Fault>) -> &'static str {
    match fault {
        None => OK,
        Some(fault) if fault.is_unreached => UNAVAILABLE,
        Some(_) => IS_DEGRADED,
    }
}

#[derive(Serialize)]
struct Backend {
    name: String,
    kind: String,
    healthy: bool,
}

/// `GET /api/health`: 200 while the process serves in some mode, which it does
/// not without chat.
pub(super) async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    let process = gateway.ctx.diagnostics.describe();
    let states = gateway.degraded();
    let status = whole(gateway.ctx.health.is_ready(), &states);
    let backend = |backend: mingle_proto::runtime::v1::Backend| Backend {
        healthy: backend.healthy(),
        name: backend.name,
        kind: backend.kind,
    };
    let called = Role::Gateway.calls().iter();
    let health = Health {
        status,
        degraded: states.names().map(ToOwned::to_owned).collect(),
        services: called.map(|role| (role.name(), Service::of(states.get(role.name())))).collect(),
        build: process.build,
        node: process.node_id,
        roles: process.roles,
        backends: process.backends.into_iter().map(backend).collect(),
    };
    let code = if status == UNAVAILABLE { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Reply(health)).into_response()
}

/// How the gateway is, with all that it calls.
pub(crate) fn whole(is_ready: bool, states: &States) -> &'static str {
    let chat = states.get(Role::Chat.name());
    if !is_ready || chat.is_some_and(|chat| chat.is_unreached) {
        UNAVAILABLE
    } else if states.is_empty() {
        OK
    } else {
        IS_DEGRADED
    }
}

/// Marks what is answered while the process is degraded.
pub(super) async fn mark(State(gateway): State<Arc<Gateway>>, mut response: Response) -> Response {
    let states = gateway.degraded();
    if !states.is_empty() {
        let names: Vec<&str> = states.names().collect();
        if let Ok(mark) = HeaderValue::from_str(&names.join(",")) {
            response.headers_mut().insert(DEGRADED, mark);
        }
    }
    response
}

/// `GET /livez`: the process answers.
pub(super) async fn live() -> &'static str {
    ALIVE
}

/// `GET /readyz`: send it traffic.
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> (StatusCode, &'static str) {
    if gateway.ctx.health.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
