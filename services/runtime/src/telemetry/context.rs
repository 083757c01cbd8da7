//! The W3C trace context: read from the current span, passed on in headers
//! and envelopes.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header and metadata key of the W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static(NAME);
const NAME: &str = "traceparent";

/// The trace id of the current span, 32 hexadecimal digits; empty without
/// telemetry.
pub fn trace_id() -> String {
    let context = Span::current().context();
    let span = context.span();
    let id = span.span_context();
    if id.is_valid() { id.trace_id().to_string() } else { String::new() }
}

/// The `traceparent` of the current span; empty without telemetry.
pub fn traceparent() -> String {
    let context = Span::current().context();
    let span = context.span();
    let id = span.span_context();
    if !id.is_valid() {
        return String::new();
    }
    format!("00-{}-{}-{:02x}", id.trace_id(), id.span_id(), id.trace_flags().to_u8())
}

/// Trace and span of the current span, for those whom `tracing` tells nothing:
/// they write down what it says.
pub(super) fn ids() -> Option<SpanContext> {
    let ids = Context::map_current(|context| context.span().span_context().clone());
    ids.is_valid().then_some(ids)
}

/// Writes the current span's context into `headers`, unless one is there.
pub fn inject(headers: &mut HeaderMap) {
    if headers.contains_key(TRACEPARENT) {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(&traceparent())
        && !value.is_empty()
    {
        headers.insert(TRACEPARENT, value);
    }
}

/// Makes `span` a child of the context in `headers`, if there is one.
pub fn adopt(span: &Span, headers: &HeaderMap) {
    if let Some(value) = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()) {
        continue_from(span, value);
    }
}

/// Makes `span` a child of what `traceparent` names; what is no trace context
/// changes nothing.
pub fn continue_from(span: &Span, traceparent: &str) {
    if traceparent.is_empty() {
        return;
    }
    let parent = TraceContextPropagator::new()
        .extract_with_context(&Context::new(), &Traceparent(traceparent));
    if parent.span().span_context().is_valid() {
        // Fails only without telemetry, where there is nothing to connect.
        let _ = span.set_parent(parent);
    }
}

struct Traceparent<'a>(&'a str);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == NAME).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![NAME]
    }
}
