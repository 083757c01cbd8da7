//! Spans on their way out: OTLP over gRPC to where `OTEL_EXPORTER_OTLP_ENDPOINT`
//! points, in batches, from a thread of their own.
//!
//! The SDK reads the other standard variables by itself: `OTEL_TRACES_SAMPLER`
//! and `_ARG` (default: everything, and what the caller decided),
//! `OTEL_BSP_*` (default: 512 spans or 5 s), `OTEL_EXPORTER_OTLP_HEADERS` and
//! `_TIMEOUT`, `OTEL_RESOURCE_ATTRIBUTES`.
//!
//! **Degraded**: without a collector calls go on as they are. At most
//! `OTEL_BSP_MAX_QUEUE_SIZE` spans (2048) wait; later ones are dropped, which
//! is logged.

use std::{sync::OnceLock, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{SdkTracer, SdkTracerProvider},
};

use crate::{
    config::{Environment, Problems},
    diagnostics::BUILD,
};

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// How long the end of the process waits for the last spans to leave.
const LAST: Duration = Duration::from_secs(3);

static KEPT: OnceLock<SdkTracerProvider> = OnceLock::new();

/// True while spans leave this process: what only a trace shows is made then.
pub fn is_exporting() -> bool {
    KEPT.get().is_some()
}

/// Sends what has not left yet and ends the export, within 3 s. Nothing
/// happens without one.
pub async fn flush() {
    let Some(provider) = KEPT.get() else { return };
    // The SDK waits by blocking its caller.
    let ended = tokio::task::spawn_blocking(|| provider.shutdown_with_timeout(LAST)).await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the last spans are lost"),
        Err(error) => tracing::warn!(%error, "the last spans are lost"),
    }
}

/// A way out for spans.
pub struct Export(SdkTracerProvider);

impl Export {
    /// What `environment` asks for: nothing without an endpoint, or where
    /// tracing is switched off. The spans are those of `service`, unless a
    /// variable names it otherwise, and of its process `instance`. Must be
    /// called where tasks can be spawned.
    pub fn of(
        environment: &Environment,
        (service, instance): (&str, &str),
        problems: &mut Problems,
    ) -> Option<Self> {
        let is_off = [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")]
            .into_iter()
            .any(|(name, off)| {
                let value = environment.get(name, problems);
                value.is_some_and(|value| value.eq_ignore_ascii_case(off))
            });
        let (variable, endpoint) = first(environment, ENDPOINTS, problems)?;
        if is_off {
            return None;
        }
        if let Some((variable, protocol)) = first(environment, PROTOCOLS, problems) {
            let why = "is not grpc, the only protocol that is spoken here";
            problems.require(protocol == "grpc", variable, why);
        }
        let is_url = endpoint.starts_with("http://") || endpoint.starts_with("https://");
        problems.require(is_url, variable, "must begin with http:// or https://");
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
        match exporter {
            Ok(exporter) => {
                let name = environment.get(SERVICE_NAME, problems);
                let resource = resource((service, instance), name);
                let provider = SdkTracerProvider::builder()
                    .with_batch_exporter(exporter)
                    .with_resource(resource)
                    .build();
                Some(Self(provider))
            }
            Err(error) => {
                problems.add(variable, error);
                None
            }
        }
    }

    pub(super) fn tracer(&self, name: &'static str) -> SdkTracer {
        self.0.tracer(name)
    }

    /// From here on the process exports.
    pub(super) fn keep(self) {
        drop(KEPT.set(self.0));
    }
}

/// The first of the variables that is set, and its value.
fn first(
    environment: &Environment,
    names: [&'static str; 2],
    problems: &mut Problems,
) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| Some((name, environment.get(name, problems)?)))
}

/// Who the spans are of. `OTEL_RESOURCE_ATTRIBUTES` is over ours, and the name
/// that `OTEL_SERVICE_NAME` gives over both.
fn resource((service, instance): (&str, &str), name: Option<String>) -> Resource {
    let ours = [
        KeyValue::new("service.name", service.to_owned()),
        KeyValue::new("service.version", BUILD),
        KeyValue::new("service.instance.id", instance.to_owned()),
    ];
    let resource = Resource::builder_empty()
        .with_attributes(ours)
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match name {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}
