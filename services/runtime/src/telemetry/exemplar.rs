//! Exemplars: beside how many took so long, the trace of one of them, so that who
//! sees a slow call in a graph finds what it did.
//!
//! A recorder of metrics before the others; every histogram of seconds keeps the
//! last sampled trace of each bucket. `OpenMetrics` 1.0 has a place for them in the
//! answer to a scrape, Prometheus' older text format has none. Prometheus asks for
//! the one that has, and keeps them with `--enable-feature=exemplar-storage`.
//!
//! **Bounds**: one trace a bucket; nothing where no spans leave the process.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use opentelemetry::trace::SpanContext;
use parking_lot::{Mutex, RwLock};

use super::{context, export::is_exporting, setup::bounds};

static KEPT: OnceLock<Arc<Kept>> = OnceLock::new();

#[derive(Default)]
struct Kept(RwLock<HashMap<Key, Arc<Timed>>>);

/// See the module.
pub(super) struct Illustrated<R> {
    inner: R,
    kept: Arc<Kept>,
}

impl<R: Recorder> Illustrated<R> {
    /// Before `inner`, which is told everything.
    pub(super) fn before(inner: R) -> Self {
        Self { inner, kept: KEPT.get_or_init(Arc::default).clone() }
    }
}

impl<R: Recorder> Recorder for Illustrated<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.inner.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.inner.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let bounds = bounds(key.name());
        if bounds.is_empty() || !is_exporting() {
            return self.inner.register_histogram(key, metadata);
        }
        if let Some(timed) = self.kept.0.read().get(key) {
            return Histogram::from_arc(timed.clone());
        }
        let make = || Arc::new(Timed::new(self.inner.register_histogram(key, metadata), bounds));
        Histogram::from_arc(self.kept.0.write().entry(key.clone()).or_insert_with(make).clone())
    }
}

/// A histogram of seconds.
struct Timed {
    inner: Histogram,
    bounds: &'static [f64],
    /// Of each bucket, the last of which has no bound.
    seen: Mutex<Vec<Option<Exemplar>>>,
}

struct Exemplar {
    seconds: f64,
    context: SpanContext,
    /// A trace is not kept for ever: who looks must see how old it is.
    at: SystemTime,
}

impl Timed {
    fn new(inner: Histogram, bounds: &'static [f64]) -> Self {
        let seen = std::iter::repeat_with(|| None).take(bounds.len() + 1).collect();
        Self { inner, bounds, seen: Mutex::new(seen) }
    }
}

impl HistogramFn for Timed {
    fn record(&self, seconds: f64) {
        self.inner.record(seconds);
        // Of another one nobody has a trace.
        let Some(context) = context::ids().filter(SpanContext::is_sampled) else { return };
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(seen) = self.seen.lock().get_mut(bucket) {
            *seen = Some(Exemplar { seconds, context, at: now() });
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "as logs and spans, by the machine's clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

impl Exemplar {
    fn text(&self) -> String {
        let (trace, span) = (self.context.trace_id(), self.context.span_id());
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let seconds = self.seconds;
        format!(r#" # {{trace_id="{trace}",span_id="{span}"}} {seconds} {at:.3}"#)
    }
}

/// The exemplar of each line of a bucket, as the line begins.
fn exemplars() -> HashMap<String, String> {
    let Some(kept) = KEPT.get() else { return HashMap::new() };
    let mut lines = HashMap::new();
    for (key, timed) in &*kept.0.read() {
        let labels = key.labels().map(|label| format!("{}=\"{}\",", label.key(), label.value()));
        let labels: String = labels.collect();
        for (bucket, seen) in timed.seen.lock().iter().enumerate() {
            let Some(seen) = seen else { continue };
            let le = timed.bounds.get(bucket).map_or("+Inf".to_owned(), f64::to_string);
            let line = format!("{}_bucket{{{labels}le=\"{le}\"}}", key.name());
            lines.insert(line, seen.text());
        }
    }
    lines
}

/// What is said in Prometheus' text format, in that of `OpenMetrics`: a counter is
/// named without `_total` where it is described, no line is empty, the last one says
/// that it is.
pub(super) fn openmetrics(text: &str) -> String {
    let exemplars = exemplars();
    let mut said = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(told) = line.strip_prefix("# ") {
            said.push_str(&described(told));
        } else {
            said.push_str(line);
            let series = line.rsplit_once(' ').map(|(series, _)| series);
            let exemplar = series.and_then(|series| exemplars.get(series));
            said.push_str(exemplar.map_or("", String::as_str));
        }
        said.push('\n');
    }
    said + "# EOF\n"
}

/// `TYPE name kind` or `HELP name text`.
fn described(told: &str) -> String {
    let mut words = told.splitn(3, ' ');
    let mut next = || words.next().unwrap_or_default();
    let (what, name, rest) = (next(), next(), next());
    match name.strip_suffix("_total") {
        Some(name) if what == "TYPE" => format!("# TYPE {name} counter"),
        Some(name) => format!("# {what} {name} {rest}"),
        None => format!("# {told}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_described_without_its_suffix() {
        let text = "# HELP a_total all of it\n# TYPE a_total counter\na_total{x=\"y z\"} 1\n\n\
                    # TYPE cpu_total gauge\ncpu_total 2\n\n# TYPE b gauge\nb 1\n";
        let expected = "# HELP a all of it\n# TYPE a counter\na_total{x=\"y z\"} 1\n\
                        # TYPE cpu counter\ncpu_total 2\n# TYPE b gauge\nb 1\n# EOF\n";
        assert_eq!(openmetrics(text), expected);
    }
}
