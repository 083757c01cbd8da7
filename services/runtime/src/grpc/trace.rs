//! The outermost layer: a span per call, a child of the caller's, and the
//! call's count and time.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Instant,
};

use tower::Service;
use tracing::Instrument as _;

use super::{Call, Request, Response, methods};
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
        let path = request.uri().path();
        // A path that is no method of ours would be a label without bound.
        let method = methods::name(path);
        let span = tracing::info_span!("rpc", otel.name = method, rpc.path = path);
        telemetry::adopt(&span, request.headers());
        let call = span.in_scope(|| self.0.call(request));
        let timed = async move {
            let started = Instant::now();
            let response = call.await?;
            if let Some(method) = method {
                record(method, &response, started);
            }
            Ok(response)
        };
        Box::pin(timed.instrument(span))
    }
}

fn record(method: &'static str, response: &Response, started: Instant) {
    let status = response.headers().get("grpc-status");
    let code = status.and_then(|value| value.to_str().ok()).unwrap_or("0").to_owned();
    metrics::counter!("mingle_rpcs_total", "method" => method, "code" => code).increment(1);
    metrics::histogram!("mingle_rpc_duration_seconds", "method" => method)
        .record(started.elapsed().as_secs_f64());
}
