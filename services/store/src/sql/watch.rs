//! What operators see of statements: each has a span in the trace of its call,
//! and one that takes long is counted. The driver logs its text, without values.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{Stream, stream::BoxStream};
use tracing::{Instrument as _, Span, field::Empty};

use super::Row;
use crate::Result;

/// A statement by this time is late for everybody who waits for it; the driver's
/// own bound.
const SLOW: Duration = Duration::from_secs(1);

/// A statement as it is named to operators: `chat.view`.
#[derive(Clone, Copy)]
pub(super) struct Name {
    /// The package whose it is; empty for `begin` and `commit`.
    pub(super) owner: &'static str,
    pub(super) statement: &'static str,
}

impl Name {
    fn full(self) -> String {
        match self.owner.strip_prefix("mingle-") {
            Some(owner) => format!("{owner}.{}", self.statement),
            None => self.statement.to_owned(),
        }
    }

    /// Shown in traces alone, and free where nobody traces.
    fn span(self) -> Span {
        let span = tracing::debug_span!("sql", otel.name = Empty, otel.kind = "client");
        if !span.is_disabled() {
            span.record("otel.name", format!("sql {}", self.full()));
        }
        span
    }

    /// Runs the statement in its span; counts an answer that was slow. One that
    /// fails is told of where its call ends.
    pub(super) async fn watch<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let done = work.instrument(self.span()).await?;
        if begun.elapsed() >= SLOW {
            metrics::counter!("mingle_slow_statements_total", "statement" => self.full())
                .increment(1);
        }
        Ok(done)
    }
}

/// The rows of a statement, in its span.
pub(super) struct Watched<'c> {
    rows: BoxStream<'c, Result<Row>>,
    span: Span,
}

impl<'c> Watched<'c> {
    pub(super) fn new(name: Name, rows: BoxStream<'c, Result<Row>>) -> Self {
        Self { rows, span: name.span() }
    }
}

impl Stream for Watched<'_> {
    type Item = Result<Row>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let span = self.span.clone();
        let _entered = span.enter();
        self.rows.as_mut().poll_next(cx)
    }
}
