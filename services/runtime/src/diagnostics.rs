//! `mingle.runtime.v1.DiagnosticsService`: what this process is.

use std::sync::Arc;

use mingle_proto::{
    Timestamp,
    runtime::v1::{
        Backend, DescribeRequest, DescribeResponse, diagnostics_service_server::DiagnosticsService,
    },
};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

use crate::{
    Role,
    figures::{Ask, Figures},
    health::Health,
    states::States,
};

/// Version and profile of the program.
pub const BUILD: &str = if cfg!(debug_assertions) {
    concat!(env!("CARGO_PKG_VERSION"), " (debug)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (release)")
};

/// A backend, and the degraded state in which it is not healthy.
#[derive(Clone)]
struct Declared {
    backend: Backend,
    away: &'static str,
}

/// Tells what the process is. Backends are declared once, at composition.
#[derive(Clone)]
pub struct Diagnostics {
    node_id: Arc<str>,
    roles: Arc<[Role]>,
    backends: Arc<Mutex<Vec<Declared>>>,
    started_at: Timestamp,
    health: Health,
    figures: Figures,
}

impl Diagnostics {
    pub(crate) fn new(node_id: Arc<str>, roles: &[Role], started_ms: i64, health: Health) -> Self {
        let started_at = Timestamp::from_millis(started_ms);
        let (backends, figures) = Default::default();
        Self { node_id, roles: roles.into(), backends, started_at, health, figures }
    }

    /// Declares a backend by name and kind, not healthy while the process is in
    /// the degraded state `away`; `detail` is shown to operators and holds no
    /// secret.
    pub fn declare(&self, (name, kind): (&str, &str), detail: &str, away: &'static str) {
        let backend = Backend {
            name: name.to_owned(),
            kind: kind.to_owned(),
            healthy: Some(true),
            detail: detail.to_owned(),
        };
        self.backends.lock().push(Declared { backend, away });
    }

    /// Tells in figures how many of `name` this process has, too.
    pub fn count(&self, name: &'static str, count: impl Fn() -> usize + Send + Sync + 'static) {
        self.figures.count(name, count);
    }

    /// Tells in figures how this server is, too.
    pub fn ask(&self, server: impl Ask) {
        self.figures.ask(server);
    }

    /// The degraded states that hold now, by the roles that are not well.
    pub fn by_role(&self, states: &States) -> States {
        states.by_role(&self.roles)
    }

    /// The description at this moment.
    pub fn describe(&self) -> DescribeResponse {
        let states = self.health.degraded().borrow().clone();
        let described = |declared: &Declared| Backend {
            healthy: Some(!states.contains(declared.away)),
            ..declared.backend.clone()
        };
        let backends = self.backends.lock().iter().map(described).collect();
        DescribeResponse {
            build: BUILD.to_owned(),
            node_id: self.node_id.to_string(),
            roles: self.roles.iter().map(ToString::to_string).collect(),
            started_at: Some(self.started_at),
            backends,
            degraded: states.names().map(ToOwned::to_owned).collect(),
            figures: None,
        }
    }

    /// The same with figures, within a second.
    pub async fn describe_with_figures(&self) -> DescribeResponse {
        let figures = Some(self.figures.look().await);
        DescribeResponse { figures, ..self.describe() }
    }
}

#[tonic::async_trait]
impl DiagnosticsService for Diagnostics {
    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let described = if request.into_inner().figures {
            self.describe_with_figures().await
        } else {
            Self::describe(self)
        };
        Ok(Response::new(described))
    }
}
