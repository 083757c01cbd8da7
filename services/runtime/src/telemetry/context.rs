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
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::{export, trail};

/// The header and metadata key of the W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static(NAME);
const NAME: &str = "traceparent";

/// The trace id of the current span, 32 hexadecimal digits; empty without
/// telemetry.
pub fn trace_id() -> String {
    current().map(|ids| ids.trace_id().to_string()).unwrap_or_default()
}

/// The `traceparent` of the current span; empty without telemetry.
pub fn traceparent() -> String {
    let text = |ids: SpanContext| {
        format!("00-{}-{}-{:02x}", ids.trace_id(), ids.span_id(), ids.trace_flags().to_u8())
    };
    current().map(text).unwrap_or_default()
}

fn current() -> Option<SpanContext> {
    if !export::is_exporting() {
        return trail::current();
    }
    let ids = Span::current().context().span().span_context().clone();
    ids.is_valid().then_some(ids)
}

/// Trace and span of the current span, for those whom `tracing` tells nothing:
/// they write down what it says.
pub(super) fn ids() -> Option<SpanContext> {
    let ids = Context::map_current(|context| context.span().span_context().clone());
    ids.is_valid().then_some(ids)
}

/// The same of `span`, which is the current one.
pub(super) fn ids_of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<SpanContext> {
    if export::is_exporting() { ids() } else { trail::of(span) }
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
    let ids = parent.span().span_context().clone();
    if !ids.is_valid() {
        return;
    }
    if export::is_exporting() {
        // Fails only without telemetry, where there is nothing to connect.
        let _ = span.set_parent(parent);
    } else {
        trail::follow(span, ids);
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
