//! Steps that run beside each other and are told in one order.

use std::{
    borrow::Cow,
    io::Write as _,
    time::{Duration, Instant},
};

use mingle_store::Why;
use serde::Serialize;
use tokio::{sync::mpsc, time::timeout};

/// What one step may take.
const STEP: Duration = Duration::from_secs(15);
/// More steps than a group has: none waits to be told.
const GROUP: usize = 32;

type Text = Cow<'static, str>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
    Skip,
}

/// What a step found.
#[derive(Debug)]
pub(super) struct Found {
    state: State,
    what: String,
    /// What to do about it; empty when it is well.
    remedy: Text,
}

impl Found {
    pub(super) fn ok(what: impl Into<String>) -> Self {
        Self { state: State::Ok, what: what.into(), remedy: Text::default() }
    }

    pub(super) fn warn(what: impl Into<String>, remedy: impl Into<Text>) -> Self {
        Self { state: State::Warn, what: what.into(), remedy: remedy.into() }
    }

    pub(super) fn fail(what: impl Into<String>, remedy: impl Into<Text>) -> Self {
        Self { state: State::Fail, what: what.into(), remedy: remedy.into() }
    }

    pub(super) fn skip(what: impl Into<String>) -> Self {
        Self { state: State::Skip, what: what.into(), remedy: Text::default() }
    }

    /// A server's failure, and the remedy of its reason.
    pub(super) fn failed(
        error: &mingle_store::Error,
        remedy: impl Fn(Why) -> &'static str,
    ) -> Self {
        Self::fail(error.words(), remedy(error.why()))
    }
}

struct Told {
    name: Text,
    took: Duration,
    found: Found,
}

/// Steps that run one after the other, beside those of other groups.
pub(super) struct Steps(mpsc::Sender<Told>);

impl Steps {
    /// Runs a step for 15 s at most; false when it failed.
    pub(super) async fn run(
        &self,
        name: impl Into<Text>,
        step: impl Future<Output = Found>,
    ) -> bool {
        let begin = Instant::now();
        let found = timeout(STEP, step).await.unwrap_or_else(|_| {
            Found::fail("no answer within 15 s", "see that the server answers at all")
        });
        let is_well = found.state != State::Fail;
        self.tell(name.into(), begin.elapsed(), found).await;
        is_well
    }

    /// Tells that steps are not run.
    pub(super) async fn skip(&self, names: &[&'static str], why: &str) {
        for name in names {
            self.tell((*name).into(), Duration::ZERO, Found::skip(why)).await;
        }
    }

    async fn tell(&self, name: Text, took: Duration, found: Found) {
        // It is read until this end is gone.
        let _ = self.0.send(Told { name, took, found }).await;
    }
}

#[derive(Serialize)]
struct Line<'a> {
    step: u32,
    name: &'a str,
    state: State,
    #[serde(rename = "latencyMs")]
    latency_ms: f64,
    found: &'a str,
    remedy: &'a str,
}

/// Tells of each step when it and those before it have ended.
pub(super) struct Report {
    json: bool,
    groups: Vec<mpsc::Receiver<Told>>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, groups: Vec::new() }
    }

    /// The next group of those that are told.
    pub(super) fn group(&mut self) -> Steps {
        let (steps, told) = mpsc::channel(GROUP);
        self.groups.push(told);
        Steps(steps)
    }

    /// Tells until every group has ended; true when a step failed.
    pub(super) async fn tell(self) -> bool {
        let (mut step, mut has_failed) = (0, false);
        for mut group in self.groups {
            while let Some(Told { name, took, found }) = group.recv().await {
                step += 1;
                has_failed |= found.state == State::Fail;
                let latency_ms = (took.as_secs_f64() * 10_000.0).round() / 10.0;
                let Found { state, what, remedy } = &found;
                let name = &*name;
                let line = Line { step, name, state: *state, latency_ms, found: what, remedy };
                let text =
                    if self.json { serde_json::json!(line).to_string() } else { words(&line) };
                // Whoever closed our standard output does not want it.
                let _ = writeln!(std::io::stdout().lock(), "{text}");
            }
        }
        has_failed
    }
}

fn words(line: &Line<'_>) -> String {
    let state = match line.state {
        State::Ok => "ok",
        State::Warn => "warn",
        State::Fail => "FAIL",
        State::Skip => "skip",
    };
    let Line { step, name, latency_ms, found, remedy, .. } = line;
    let head = format!("{step:>2}. {name:<17} {state:<4} {latency_ms:>7.1} ms  {found}");
    if remedy.is_empty() { head } else { format!("{head}\n    -> {remedy}") }
}
