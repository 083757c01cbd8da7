//! Spans of calls: a child of the caller's for each.

use std::{convert::Infallible, future::Future};

use tonic::Code;
use tracing::{Instrument as _, Span, field::Empty};

use super::{
    Call, Request, Response,
    methods::{self, Method},
};
use crate::telemetry;

/// The span of a call that this process serves.
pub(super) fn server(request: &Request, method: Option<&Method>) -> Span {
    let path = request.uri().path();
    let span = if methods::is_describe(path) {
        Span::none()
    } else if telemetry::is_exporting() {
        exported(method, "server")
    } else {
        tracing::info_span!("rpc", rpc.path = path)
    };
    telemetry::adopt(&span, request.headers());
    span
}

/// The span of a call that this process makes; of interest to traces alone.
pub(super) fn client(path: &str) -> Option<Span> {
    let is_told = telemetry::is_exporting() && !methods::is_describe(path);
    is_told.then(|| exported(methods::of(path), "client"))
}

/// A path that is no method of ours would be a name without bound.
fn exported(method: Option<&Method>, kind: &'static str) -> Span {
    tracing::info_span!(
        "rpc",
        otel.name = method.map(|method| method.span.as_str()),
        otel.kind = kind,
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = method.map(|method| method.full_service.as_str()),
        rpc.method = method.map(|method| method.name.as_str()),
        rpc.grpc.status_code = Empty,
    )
}

/// Runs `call` in its span, which says how it ended where that is told.
pub(super) fn within(
    span: Span,
    call: impl Future<Output = Result<Response, Infallible>> + Send + 'static,
) -> Call {
    if span.is_disabled() || !telemetry::is_exporting() {
        return Box::pin(call.instrument(span));
    }
    Box::pin(async move {
        let response = call.instrument(span.clone()).await?;
        let code = code(&response);
        span.record("rpc.grpc.status_code", i32::from(code));
        if is_failure(code) {
            span.record("otel.status_code", "ERROR");
        }
        Ok(response)
    })
}

/// How a call ended; that of a stream which goes on is OK.
pub(super) fn code(response: &Response) -> Code {
    let status = response.headers().get("grpc-status");
    status.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
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
