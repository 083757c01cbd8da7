//! The outermost layer: a span per call, a child of the caller's, and the
//! call's count and time.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Instant,
};

use tower::Service;
use tracing::Instrument as _;

use super::{Call, Request, Response};
use crate::telemetry;

/// See the module.
#[derive(Clone)]
pub struct Trace<S>(pub S);

impl<S> Service<Request> for Trace<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future = Call>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Call;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Call {
        let (service, method) = split(request.uri().path());
        let span = tracing::info_span!("rpc", otel.name = method, rpc.service = service);
        telemetry::adopt(&span, request.headers());
        // A path that is no method of ours would be a label without bound.
        let method = if service.starts_with("mingle.") { method.to_owned() } else { String::new() };
        let call = span.in_scope(|| self.0.call(request));
        let timed = async move {
            let started = Instant::now();
            let response = call.await?;
            if !method.is_empty() && response.status() != http::StatusCode::NOT_FOUND {
                record(method, &response, started);
            }
            Ok(response)
        };
        Box::pin(timed.instrument(span))
    }
}

/// `/package.Service/Method` in its two parts.
fn split(path: &str) -> (&str, &str) {
    path.trim_start_matches('/').split_once('/').unwrap_or((path, ""))
}

fn record(method: String, response: &Response, started: Instant) {
    let status = response.headers().get("grpc-status");
    let code = status.and_then(|value| value.to_str().ok()).unwrap_or("0");
    if code == "12" {
        return;
    }
    let code = code.to_owned();
    metrics::counter!("mingle_rpcs_total", "method" => method.clone(), "code" => code).increment(1);
    metrics::histogram!("mingle_rpc_duration_seconds", "method" => method)
        .record(started.elapsed().as_secs_f64());
}
