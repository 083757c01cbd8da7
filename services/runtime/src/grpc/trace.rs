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

const RPCS: &str = "mingle_rpcs_total";
const RPC_SECONDS: &str = "mingle_rpc_duration_seconds";

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
        let span = tracing::info_span!("rpc", otel.name = method, rpc.path = path);
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
        Box::pin(timed.instrument(span))
    }
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

/// Says what the metrics of this layer mean.
pub(crate) fn describe() {
    metrics::describe_counter!(RPCS, "gRPC calls answered, by status code");
    metrics::describe_histogram!(
        RPC_SECONDS,
        metrics::Unit::Seconds,
        "time to the answer of a gRPC call, or to the first one of a stream"
    );
}
