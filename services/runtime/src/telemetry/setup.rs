//! Sets a process's telemetry up, once.

use std::{io::IsTerminal as _, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, FilterFn, LevelFilter, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    registry::LookupSpan,
};

use super::{
    Export, context,
    exemplar::{self, Illustrated},
    observe,
    recent::Tap,
    trail::Trails,
};
use crate::config::Mode;

/// How a latency histogram's name ends.
const SECONDS: &str = "_seconds";
/// Upper bounds of the latency histograms' buckets, in seconds.
const BUCKETS: &[f64] = &[0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];
/// The same of how long people wait for each other.
const WAITS: (&str, &[f64]) =
    ("mingle_match_wait_seconds", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]);
const TRACER: &str = "mingle";
/// As the exporter itself does where it serves the metrics.
const UPKEEP: Duration = Duration::from_secs(5);

/// The text format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
    if !log_and_trace(mode, filter, export) {
        return;
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix(SECONDS.to_owned()), BUCKETS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full(WAITS.0.to_owned()), WAITS.1)
        });
    let installed = builder.map_err(|error| error.to_string()).and_then(|builder| {
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let recorder = Tap::before(Illustrated::before(recorder));
        let set = metrics::set_global_recorder(recorder);
        set.map(|()| handle).map_err(|error| error.to_string())
    });
    match installed {
        Ok(handle) => {
            drop(METRICS.set(handle));
            crate::grpc::calls::describe();
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

/// The upper bounds of a histogram's buckets; none where it is of no time.
pub(super) fn bounds(name: &str) -> &'static [f64] {
    if name == WAITS.0 {
        return WAITS.1;
    }
    if name.ends_with(SECONDS) { BUCKETS } else { &[] }
}

/// The metrics, none before [`init`], and their content type: `OpenMetrics` with
/// exemplars where a header `Accept` names it, as that of Prometheus does, or else
/// Prometheus' text format.
pub fn render_metrics(accept: &str) -> (&'static str, String) {
    observe::look();
    let text = METRICS.get().map(PrometheusHandle::render).unwrap_or_default();
    let media = accept.split([',', ';']).map(str::trim);
    if media.into_iter().any(|media| media.eq_ignore_ascii_case("application/openmetrics-text")) {
        (OPEN, exemplar::openmetrics(&text))
    } else {
        (TEXT, text)
    }
}

/// Without an export ids are made and passed on, and spans not recorded.
fn log_and_trace(mode: Mode, filter: EnvFilter, export: Option<Export>) -> bool {
    let tracer = export.as_ref().map(|export| export.tracer(TRACER));
    let subscriber = subscriber((mode, filter), tracer, std::io::stderr);
    let is_set = tracing::subscriber::set_global_default(subscriber).is_ok();
    if let (true, Some(export)) = (is_set, export) {
        export.keep();
    }
    is_set
}

/// Spans are there whatever is logged: a quiet log is no reason for a trace with
/// holes, nor for a line that does not say whose it is.
fn subscriber<W>(
    (mode, filter): (Mode, EnvFilter),
    tracer: Option<SdkTracer>,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // Statements and scripts are of interest to traces alone.
    let level = if tracer.is_some() { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let logs = logs(mode, writer).with_filter(filter.or(ours(LevelFilter::INFO)));
    tracing_subscriber::registry().with(logs).with(spans(tracer).with_filter(ours(level)))
}

fn spans<S>(tracer: Option<SdkTracer>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let Some(tracer) = tracer else { return Trails.boxed() };
    let spans = tracing_opentelemetry::layer().with_location(false).with_target(false);
    let spans = spans.with_threads(false).with_tracked_inactivity(false);
    spans.with_tracer(tracer).boxed()
}

/// Our spans up to `level`: libraries' are about them, and events are the log's.
fn ours(level: LevelFilter) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    let is_ours = move |metadata: &Metadata<'_>| {
        metadata.is_span() && *metadata.level() <= level && metadata.target().starts_with("mingle")
    };
    filter_fn(is_ours).with_max_level_hint(level)
}

fn logs<S, W>(mode: Mode, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let is_terminal = std::io::stderr().is_terminal();
    match mode {
        Mode::Development => tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(is_terminal)
            .with_target(false)
            .boxed(),
        Mode::Production => {
            let mut logs = json_subscriber::fmt::layer().with_writer(writer).flatten_event(true);
            let lines = logs.inner_layer_mut();
            lines.add_multiple_dynamic_fields(|event, spans, line| {
                // Some are of no span, whichever is current.
                let span = spans.event_span(event);
                let Some(ids) = span.and_then(|span| context::ids_of(&span)) else { return };
                // As a JSON line says it: OpenTelemetry, Trace Context in non-OTLP
                // Log Formats. A line that cannot be written is nobody's failure.
                let _ = line.write_field("trace_id", ids.trace_id().to_string());
                let _ = line.write_field("span_id", ids.span_id().to_string());
            });
            logs.boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use serde_json::Value;

    use super::*;
    use parking_lot::Mutex;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines of what is told inside of a span and outside, and the span's
    /// trace.
    fn told(mode: Mode, filter: &str) -> (String, String) {
        let lines = Lines::default();
        let writer = lines.clone();
        let how = (mode, EnvFilter::new(filter));
        let subscriber = subscriber(how, None, move || writer.clone());
        let trace = tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("rpc");
            let _entered = span.enter();
            tracing::info!("not told");
            tracing::warn!(room = "r", "inside");
            tracing::warn!(parent: None, "outside");
            context::trace_id()
        });
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        (text, trace)
    }

    #[test]
    fn a_line_names_the_trace_that_it_is_of_however_quiet_the_log_is() {
        let (text, trace) = told(Mode::Production, "warn");
        assert_eq!(trace.len(), 32, "{trace:?}");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(told, ["inside", "outside"]);
        assert_eq!((&lines[0]["trace_id"], &lines[0]["room"]), (&trace.into(), &"r".into()));
        assert_eq!(lines[0]["span_id"].as_str().unwrap().len(), 16);
        assert_eq!((lines[1].get("trace_id"), lines[1].get("span_id")), (None, None));
    }

    #[test]
    fn a_readable_log_is_lines_of_text() {
        let (text, _) = told(Mode::Development, "warn");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("WARN rpc: inside room=\"r\""), "{text}");
    }
}
