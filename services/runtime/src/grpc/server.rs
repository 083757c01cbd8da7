//! The server stack, the same for callers in this process and from outside.
//!
//! One service and not one for each part: a call costs one allocation, and the order of
//! what is decided can be read here.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::{Layer, Service};

use super::{
    Call, Config, Request, Response, age, auth,
    calls::Calls,
    deadline, degraded,
    methods::{self, Kind},
    shed::Bounds,
    trace,
};
use crate::{config::Secret, health::Health};

/// What surrounds every service of a process.
#[derive(Clone)]
pub struct Stack(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    bounds: Bounds,
    /// For calls that bring none.
    default_deadline: Duration,
    /// For all.
    max_deadline: Duration,
    max_stream_age: Duration,
    token: Secret,
    drain: CancellationToken,
    /// `None` where nobody keeps it.
    degraded: Option<watch::Receiver<BTreeSet<String>>>,
    calls: Arc<Calls>,
}

impl Stack {
    /// The stack as configured; streams end when `drain` is cancelled. What measures has
    /// to be there already.
    pub fn new(config: &Config, drain: CancellationToken) -> Self {
        Self(Arc::new(Parts {
            bounds: Bounds::new(config.max_in_flight, config.max_streams),
            default_deadline: Duration::from_millis(config.default_deadline_ms),
            max_deadline: Duration::from_millis(config.max_deadline_ms),
            max_stream_age: Duration::from_millis(config.max_stream_age_ms),
            token: config.internal_token.clone(),
            drain,
            degraded: None,
            calls: Arc::new(Calls::new()),
        }))
    }

    /// The same stack; replies are marked while `health` is degraded by what the
    /// process sees itself.
    pub fn marked(&self, health: &Health) -> Self {
        Self(Arc::new(Parts { degraded: Some(health.seen()), ..self.parts() }))
    }

    /// The same stack for a role that drains by itself.
    pub fn with_drain(&self, drain: CancellationToken) -> Self {
        Self(Arc::new(Parts { drain, ..self.parts() }))
    }

    fn parts(&self) -> Parts {
        (*self.0).clone()
    }

    /// What proves this process to its peers.
    pub(super) fn token(&self) -> &Secret {
        &self.0.token
    }
}

impl<S> Layer<S> for Stack {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { stack: self.clone(), inner }
    }
}

/// A service with the stack around it.
#[derive(Clone)]
pub struct Guarded<S> {
    stack: Stack,
    inner: S,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Call;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Call {
        let (path, begun) = (request.uri().path(), Instant::now());
        let method = methods::of(path);
        let kind = methods::kind(path, method);
        let span = trace::server(&request, method);
        let asked = deadline::timeout(request.headers());
        let admitted = self.stack.0.admit(kind, &request);
        let call = admitted.map(|place| (place, self.inner.call(request)));
        let stack = self.stack.clone();
        trace::within(span, async move {
            let Parts { degraded, calls, .. } = &*stack.0;
            let response = match call {
                Ok((place, call)) if kind == Kind::Unary => {
                    let _place = place;
                    deadline::bounded(call, stack.0.allowed(asked)).await?
                }
                Ok((place, call)) => stack.0.stream(call.await?, place),
                Err(refused) => refused.into_http(),
            };
            if let Some(method) = method {
                calls.record(method, trace::code(&response), begun.elapsed());
            }
            Ok(match degraded {
                Some(states) => degraded::marked(response, &states.borrow()),
                None => response,
            })
        })
    }
}

impl Parts {
    /// A place for a call of who may call.
    fn admit(&self, kind: Kind, request: &Request) -> Result<OwnedSemaphorePermit, Status> {
        let place = self.bounds.place(kind)?;
        if kind != Kind::Open {
            auth::admit(&self.token, request.headers())?;
        }
        Ok(place)
    }

    fn allowed(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.default_deadline).min(self.max_deadline)
    }

    /// A stream holds its place until its last frame.
    fn stream(&self, response: Response, place: OwnedSemaphorePermit) -> Response {
        let (max, drain) = (self.max_stream_age, self.drain.clone());
        response.map(|body| age::bounded(body, max, drain, place))
    }
}
