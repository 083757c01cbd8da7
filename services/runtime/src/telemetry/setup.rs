//! Sets a process's telemetry up, once.

use std::{io::IsTerminal as _, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, filter, filter::LevelFilter, layer::SubscriberExt as _, registry::LookupSpan,
};

use super::{Export, recent::Tap};
use crate::config::Mode;

/// Upper bounds of the latency histograms' buckets, in seconds.
const BUCKETS: &[f64] = &[0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];
const TRACER: &str = "mingle";
/// As the exporter itself does where it serves the metrics.
const UPKEEP: Duration = Duration::from_secs(5);

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// [`start`] without export.
pub fn init(mode: Mode, filter: &str) {
    start(mode, filter, None);
}

/// Sets up logs, spans and metrics for the process; a second call is without
/// effect, so that tests may share one process.
///
/// Readable lines in development, JSON in production, on standard error:
/// standard output carries the ready lines.
pub fn start(mode: Mode, filter: &str, export: Option<Export>) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_set = match export {
        Some(export) => exporting(mode, filter, export),
        None => local(mode, filter),
    };
    if !is_set {
        return;
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS);
    let installed = builder.map_err(|error| error.to_string()).and_then(|builder| {
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let set = metrics::set_global_recorder(Tap::before(recorder));
        set.map(|()| handle).map_err(|error| error.to_string())
    });
    match installed {
        Ok(handle) => {
            drop(METRICS.set(handle));
            crate::grpc::trace::describe();
            crate::grpc::remote::describe();
        }
        Err(error) => tracing::warn!(error, "metrics are off"),
    }
}

/// Sums up what was recorded, again and again: the samples of histograms are kept
/// one by one until then, and where nobody reads the metrics they would fill the
/// memory.
pub async fn keep_up() {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        if let Some(metrics) = METRICS.get() {
            metrics.run_upkeep();
        }
    }
}

/// The metrics in Prometheus' text format; empty before [`init`].
pub fn render_metrics() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Ids are made and passed on, spans not recorded.
fn local(mode: Mode, filter: EnvFilter) -> bool {
    let tracer = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
        .build()
        .tracer(TRACER);
    let spans = tracing_opentelemetry::layer().with_tracer(tracer);
    let subscriber = tracing_subscriber::registry().with(filter).with(logs(mode)).with(spans);
    tracing::subscriber::set_global_default(subscriber).is_ok()
}

/// Spans are recorded whatever is logged: a quiet log is no reason for a trace
/// with holes.
fn exporting(mode: Mode, filter: EnvFilter, export: Export) -> bool {
    let spans = tracing_opentelemetry::layer()
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_tracer(export.tracer(TRACER))
        .with_filter(filter::filter_fn(is_ours).with_max_level_hint(LevelFilter::INFO));
    let subscriber =
        tracing_subscriber::registry().with(logs(mode).with_filter(filter)).with(spans);
    let is_set = tracing::subscriber::set_global_default(subscriber).is_ok();
    if is_set {
        export.keep();
    }
    is_set
}

/// Libraries' spans are about them, and events are the log's.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let is_shown = *metadata.level() <= Level::INFO;
    metadata.is_span() && is_shown && metadata.target().starts_with("mingle")
}

fn logs<S>(mode: Mode) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    match mode {
        Mode::Development => logs.with_target(false).boxed(),
        Mode::Production => logs.json().flatten_event(true).boxed(),
    }
}
