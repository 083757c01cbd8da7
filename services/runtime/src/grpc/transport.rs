//! The way to a role: in this process through its server stack, or another's.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, header::AUTHORIZATION};
use mingle_proto::errors::v1::Reason;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, Service, util::BoxCloneSyncService};

use super::{
    Config, Request, Response, Routes, Stack, auth, methods,
    remote::{AFFINITY, Instance, Remote},
    standing::Standing,
    trace,
};
use crate::{
    Role,
    config::{Secret, Section as _},
    health::Health,
    status::{self, Kind},
    telemetry,
};

/// How long a caller waits beyond the deadline that it told the server, so
/// that the server's own answer wins.
const SLACK: Duration = Duration::from_millis(250);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// The same, as the server is told.
const DEFAULT_TIMEOUT: HeaderValue = HeaderValue::from_static("10S");

/// A role's address for generated clients. Cheap to clone.
///
/// **Guarantees**: every unary call ends by its deadline; the caller's trace
/// context goes along; failures are statuses, never transport errors.
#[derive(Clone)]
pub struct Transport {
    way: BoxCloneSyncService<Request, Response, Infallible>,
    bearer: Option<HeaderValue>,
    affinity: Option<HeaderValue>,
    standing: Option<Standing>,
    remote: Option<Remote>,
}

impl Transport {
    /// To services in this process, through `stack`.
    pub fn in_process(stack: &Stack, routes: Routes) -> Self {
        Self {
            way: BoxCloneSyncService::new(stack.layer(routes)),
            bearer: auth::bearer(stack.token()),
            affinity: None,
            standing: None,
            remote: None,
        }
    }

    /// To services in this process, through the default stack.
    pub fn local(routes: Routes) -> Self {
        let defaults = crate::config::Config::load(&[Config::DEFAULTS], None, Default::default());
        #[expect(clippy::expect_used, reason = "the embedded defaults are tested to parse")]
        let config: Config = defaults.and_then(|config| config.read()).expect("embedded defaults");
        Self::in_process(&Stack::new(&config, CancellationToken::new()), routes)
    }

    /// To services in other processes; see [`Remote`]. Presents `token`.
    pub fn remote(remote: Remote, token: &Secret) -> Self {
        Self {
            way: BoxCloneSyncService::new(remote.clone()),
            bearer: auth::bearer(token),
            affinity: None,
            standing: None,
            remote: Some(remote),
        }
    }

    /// The same way; `health` shows as degraded what the role answers as such.
    pub(crate) fn watched(self, role: Role, health: Health) -> Self {
        Self { standing: Some(Standing::new(role, health)), ..self }
    }

    /// The instances in other processes that this way leads to now, for questions
    /// to each of them; a proxy stands for all that are behind it.
    pub fn instances(&self) -> Vec<Instance> {
        let remote = self.remote.as_ref();
        remote.map_or_else(Vec::new, |remote| remote.instances(self.bearer.as_ref()))
    }

    /// True for a way to another process whose standing is kept.
    pub(crate) fn is_watched(&self) -> bool {
        self.standing.is_some()
    }

    /// The same way for calls about one thing, such as a room: of several
    /// instances they prefer one. What cannot be said in a header is about
    /// nothing.
    #[must_use]
    pub fn about(&self, thing: &str) -> Self {
        Self { affinity: HeaderValue::from_str(thing).ok(), ..self.clone() }
    }

    /// To nobody: every call answers UNAVAILABLE.
    pub fn absent(role: &'static str) -> Self {
        let refuse = move |_: Request| async move {
            let message = format!("no {role} is configured");
            let status = status::refuse(Kind::Unavailable, Reason::Unavailable, message);
            Ok(status.into_http())
        };
        Self {
            way: BoxCloneSyncService::new(tower::service_fn(refuse)),
            bearer: None,
            affinity: None,
            standing: None,
            remote: None,
        }
    }
}

impl Service<Request> for Transport {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.way.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Some(span) = trace::client(request.uri().path()) else { return self.send(request) };
        let call = span.in_scope(|| self.send(request));
        trace::within(span, call)
    }
}

impl Transport {
    fn send(&mut self, mut request: Request) -> super::Call {
        telemetry::inject(request.headers_mut());
        if let Some(bearer) = &self.bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        }
        if let Some(affinity) = &self.affinity {
            request.headers_mut().insert(AFFINITY, affinity.clone());
        }
        let path = request.uri().path().to_owned();
        let standing = self.standing.clone();
        let observe = move |response| match standing {
            Some(standing) => standing.observe(&path, response),
            None => response,
        };
        if methods::is_streaming(request.uri().path()) {
            let call = self.way.call(request);
            return Box::pin(async move { call.await.map(observe) });
        }
        let asked = super::deadline::timeout(request.headers());
        if asked.is_none() {
            request.headers_mut().insert("grpc-timeout", DEFAULT_TIMEOUT);
        }
        let timeout = asked.unwrap_or(DEFAULT_DEADLINE);
        let patience = timeout + SLACK;
        let wait = self
            .standing
            .as_ref()
            .map(|standing| standing.wait(request.uri().path(), Instant::now() + timeout));
        let call = self.way.call(request);
        Box::pin(async move {
            let answer = tokio::time::timeout(patience, call).await.unwrap_or_else(|_| {
                let message = "no answer by the deadline; the outcome is unknown";
                Ok(status::refuse(Kind::Timeout, Reason::Deadline, message).into_http())
            });
            if let Some(wait) = wait {
                wait.end();
            }
            answer.map(observe)
        })
    }
}
