//! Logs, trace context and metrics of a process.
//!
//! Every RPC runs in a span whose trace context comes from the caller (W3C
//! `traceparent`) or begins here. The context is readable by services, which
//! put it into messages and envelopes.

use std::{io::IsTerminal as _, sync::OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _};

use crate::config::Mode;

/// The header and metadata key of the W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Upper bounds of the latency histograms' buckets, in seconds.
const BUCKETS: &[f64] = &[0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Sets up logs, spans and metrics for the process; a second call is without
/// effect, so that tests may share one process.
///
/// Readable lines in development, JSON in production, on standard error:
/// standard output carries the ready lines.
pub fn init(mode: Mode, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    let logs = match mode {
        Mode::Development => logs.with_target(false).boxed(),
        Mode::Production => logs.json().flatten_event(true).boxed(),
    };
    // Nothing is exported yet: ids are made and passed on, spans not recorded.
    let tracer = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
        .build()
        .tracer("mingle");
    let spans = tracing_opentelemetry::layer().with_tracer(tracer);
    let subscriber = tracing_subscriber::registry().with(filter).with(logs).with(spans);
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        return;
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS);
    match builder.map(PrometheusBuilder::install_recorder) {
        Ok(Ok(handle)) => {
            drop(METRICS.set(handle));
            crate::grpc::trace::describe();
        }
        Ok(Err(error)) => tracing::warn!(%error, "metrics are off"),
        Err(error) => tracing::warn!(%error, "metrics are off"),
    }
}

/// The metrics in Prometheus' text format; empty before [`init`].
pub fn render_metrics() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

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
    let parent = parent(headers);
    if parent.span().span_context().is_valid() {
        // Fails only without telemetry, where there is nothing to connect.
        let _ = span.set_parent(parent);
    }
}

fn parent(headers: &HeaderMap) -> Context {
    struct Headers<'a>(&'a HeaderMap);
    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key).and_then(|value| value.to_str().ok())
        }
        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }
    }
    if headers.contains_key(TRACEPARENT) {
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
    } else {
        Context::new()
    }
}
