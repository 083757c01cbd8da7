//! Spans of calls, and the outermost layer of a server: a span per call, a
//! child of the caller's, and the call's count and time.

use std::{
    convert::Infallible,
    future::Future,
    task::{Context, Poll},
    time::Instant,
};

use tonic::Code;
use tower::Service;
use tracing::{Instrument as _, Span, field::Empty};

use super::{Call, Request, Response, methods};
use crate::telemetry;

pub(crate) const RPCS: &str = "mingle_rpcs_total";
pub(crate) const RPC_SECONDS: &str = "mingle_rpc_duration_seconds";

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
        let names = methods::names(path);
        let method = names.map(|(_, method)| method);
        let span = if methods::is_describe(path) {
            Span::none()
        } else if telemetry::is_exporting() {
            server(path)
        } else {
            tracing::info_span!("rpc", otel.name = method, rpc.path = path)
        };
        telemetry::adopt(&span, request.headers());
        let call = span.in_scope(|| self.0.call(request));
        let timed = async move {
            let started = Instant::now();
            let response = call.await?;
            if let Some(names) = names {
                record(names, &response, started);
            }
            Ok(response)
        };
        if telemetry::is_exporting() && !span.is_disabled() {
            return Box::pin(outcome(span, timed));
        }
        Box::pin(timed.instrument(span))
    }
}

/// The span of a call that this process serves.
fn server(path: &str) -> Span {
    span(path, "server")
}

/// The span of a call that this process makes.
pub(super) fn client(path: &str) -> Span {
    span(path, "client")
}

/// A path that is no method of ours would be a name without bound.
fn span(path: &str, kind: &'static str) -> Span {
    let method = methods::traced(path);
    tracing::info_span!(
        "rpc",
        otel.name = method.map(|method| method.span),
        otel.kind = kind,
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = method.map(|method| method.service),
        rpc.method = method.map(|method| method.method),
        rpc.grpc.status_code = Empty,
    )
}

/// Runs `call` in its span, which says how it ended.
pub(super) async fn outcome(
    span: Span,
    call: impl Future<Output = Result<Response, Infallible>>,
) -> Result<Response, Infallible> {
    let response = call.instrument(span.clone()).await?;
    let code = response
        .headers()
        .get("grpc-status")
        .map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
    span.record("rpc.grpc.status_code", i32::from(code));
    if is_failure(code) {
        span.record("otel.status_code", "ERROR");
    }
    Ok(response)
}

/// True where something went wrong; other codes are answers.
pub(crate) fn is_failure(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn record((service, method): (&'static str, &'static str), response: &Response, started: Instant) {
    let status = response.headers().get("grpc-status");
    let code = status.and_then(|value| value.to_str().ok()).unwrap_or("0").to_owned();
    let calls = metrics::counter!(
        RPCS, "service" => service, "method" => method, "code" => code
    );
    calls.increment(1);
    metrics::histogram!(RPC_SECONDS, "service" => service, "method" => method)
        .record(started.elapsed().as_secs_f64());
}

/// Says what the metrics of every process mean.
pub(crate) fn describe() {
    metrics::describe_gauge!("mingle_degraded", "1 while a state of this name is degraded");
    metrics::describe_counter!(
        "mingle_degraded_seconds_total",
        "seconds in which a state of this name was degraded"
    );
    metrics::describe_counter!(
        "mingle_rpcs_shed_total",
        "gRPC calls refused because as many are under way as may be"
    );
    metrics::describe_counter!(
        "mingle_peer_retries_total",
        "calls to another role that were asked again of another instance"
    );
    metrics::describe_counter!(RPCS, "gRPC calls answered, by status code");
    metrics::describe_histogram!(
        RPC_SECONDS,
        metrics::Unit::Seconds,
        "time to the answer of a gRPC call, or to the first one of a stream"
    );
}
