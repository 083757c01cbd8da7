//! The server stack, the same for callers in this process and from outside.

use std::{collections::BTreeSet, convert::Infallible, future::Future, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::{Layer, Service, ServiceExt as _, util::BoxCloneSyncService};

use super::{
    Config, Request, Response,
    age::Age,
    auth::Auth,
    deadline::Deadline,
    degraded::Mark,
    shed::{Bounds, Shed},
    trace::Trace,
};
use crate::{config::Secret, health::Health};

/// The layers around every service of a process.
#[derive(Clone)]
pub struct Stack {
    bounds: Bounds,
    default_deadline: Duration,
    max_deadline: Duration,
    max_stream_age: Duration,
    token: Arc<Secret>,
    drain: CancellationToken,
    degraded: Option<watch::Receiver<BTreeSet<String>>>,
}

/// A service with the stack around it.
pub type Guarded = BoxCloneSyncService<Request, Response, Infallible>;

impl Stack {
    /// The stack as configured; streams end when `drain` is cancelled.
    pub fn new(config: &Config, drain: CancellationToken) -> Self {
        Self {
            bounds: Bounds::new(config.max_in_flight, config.max_streams),
            default_deadline: Duration::from_millis(config.default_deadline_ms),
            max_deadline: Duration::from_millis(config.max_deadline_ms),
            max_stream_age: Duration::from_millis(config.max_stream_age_ms),
            token: Arc::new(config.internal_token.clone()),
            drain,
            degraded: None,
        }
    }

    /// The same stack; replies are marked while `health` is degraded by what the
    /// process sees itself.
    pub fn marked(self, health: &Health) -> Self {
        Self { degraded: Some(health.seen()), ..self }
    }

    /// The same stack for a role that drains by itself.
    pub fn with_drain(&self, drain: CancellationToken) -> Self {
        Self { drain, ..self.clone() }
    }

    /// What proves this process to its peers.
    pub(super) fn token(&self) -> &Secret {
        &self.token
    }
}

impl<S> Layer<S> for Stack
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Future + Send + 'static,
{
    type Service = Guarded;

    fn layer(&self, inner: S) -> Guarded {
        let service = tower::service_fn(move |request: Request| {
            let call = inner.clone().oneshot(request);
            let call: super::Call = Box::pin(call);
            call
        });
        let auth = Auth { inner: service, token: self.token.clone() };
        let (default, max) = (self.default_deadline, self.max_deadline);
        let deadline = Deadline { inner: auth, default, max };
        let drain = self.drain.clone();
        let age = Age { inner: deadline, max: self.max_stream_age, drain };
        let shed = Shed { inner: age, bounds: self.bounds.clone() };
        let mark = Mark { inner: shed, states: self.degraded.clone() };
        BoxCloneSyncService::new(Trace(mark))
    }
}

/// `routes` in the stack, for callers in this process.
pub(super) fn guard(stack: &Stack, routes: Routes) -> Guarded {
    stack.layer(routes.prepare())
}
