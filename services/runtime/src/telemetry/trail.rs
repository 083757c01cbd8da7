//! The trace that spans are of where none leaves this process.
//!
//! Nobody will look at such a span: nothing is made of it but where a line of the log, a
//! message or a call asks which trace it is of. That is the caller's, as it came, so that
//! what is called from here continues what was recorded before; or a new one.

use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use tracing::{Span, Subscriber, span};
use tracing_subscriber::{
    Layer, Registry,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

/// Gives each span the trail of the one around it, or one of its own.
pub(super) struct Trails;

/// Of a span and those within it.
#[derive(Clone, Default)]
struct Trail(Arc<OnceLock<SpanContext>>);

impl Trail {
    fn context(&self) -> SpanContext {
        let new = || {
            let (trace, span) = (TraceId::from(rand::random::<u128>()), rand::random::<u64>());
            let (flags, state) = (TraceFlags::default(), TraceState::default());
            SpanContext::new(trace, SpanId::from(span), flags, false, state)
        };
        self.0.get_or_init(new).clone()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trails {
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let trail = span.parent().and_then(|parent| trail(&parent)).unwrap_or_default();
        span.extensions_mut().insert(trail);
    }
}

/// Its own, or that of the next one around it: a library's has none.
fn trail<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Trail> {
    span.scope().find_map(|span| span.extensions().get::<Trail>().cloned())
}

/// The trace of a span as a layer sees it.
pub(super) fn of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<SpanContext> {
    trail(span).map(|trail| trail.context())
}

/// The trace of the current span.
pub(super) fn current() -> Option<SpanContext> {
    let of = |(id, dispatch): (&span::Id, &tracing::Dispatch)| {
        of(&dispatch.downcast_ref::<Registry>()?.span(id)?)
    };
    Span::current().with_subscriber(of).flatten()
}

/// From here on `span` is of this trace.
pub(super) fn follow(span: &Span, context: SpanContext) {
    span.with_subscriber(|(id, dispatch)| {
        if let Some(span) = dispatch.downcast_ref::<Registry>().and_then(|all| all.span(id)) {
            span.extensions_mut().replace(Trail(Arc::new(context.into())));
        }
    });
}

#[cfg(test)]
mod tests {
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::{continue_from, traceparent};

    fn followed(act: impl FnOnce()) {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Trails), act);
    }

    #[test]
    fn what_is_within_a_span_is_of_its_trace() {
        followed(|| {
            assert_eq!(current(), None);
            let outer = info_span!("outer");
            let inner = outer.in_scope(|| info_span!("inner"));
            let ids = inner.in_scope(current).unwrap();
            assert!(ids.is_valid() && !ids.is_sampled());
            assert_eq!(outer.in_scope(current), Some(ids.clone()));
            let other = outer.in_scope(|| info_span!(parent: None, "other"));
            assert_ne!(other.in_scope(current).unwrap().trace_id(), ids.trace_id());
        });
    }

    #[test]
    fn what_was_told_is_passed_on_as_it_came() {
        let told = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        followed(|| {
            let connection = info_span!("connection");
            let before = connection.in_scope(traceparent);
            let frame = connection.in_scope(|| info_span!("frame"));
            continue_from(&frame, "no trace context");
            assert_eq!(frame.in_scope(traceparent), before);
            continue_from(&frame, told);
            let within = frame.in_scope(|| info_span!("within"));
            assert_eq!([&frame, &within].map(|span| span.in_scope(traceparent)), [told, told]);
            assert_eq!(connection.in_scope(traceparent), before);
        });
    }
}
