//! Says what `mingle` would say of the configuration, and asks the servers step by step whether Mingle can run on them, and changes
//! nothing that they keep for it.
//!
//! Whether Redis takes writes is found by the one that every connection makes, to
//! the fence: on a server that restarted it begins the new generation that the
//! first process would begin.
//!
//! A step is `ok`, `warn` (it runs, with less than it could have), `FAIL` (it
//! does not), or `skip` (a step before it failed). Each is bounded.

mod configuration;
mod database;
mod redis;
pub(crate) mod remedy;

use std::{
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use mingle_runtime::{
    Role,
    config::{Config, Problems, sources},
};
use mingle_store::Why;
use serde::Serialize;
use tokio::time::timeout;

use crate::backends::{DatabaseConfig, RedisConfig};

/// What one step may take.
const STEP: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
    Skip,
}

/// What a step found.
struct Found {
    state: State,
    what: String,
    /// What to do about it; empty when it is well.
    remedy: &'static str,
}

impl Found {
    fn new(state: State, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { state, what: what.into(), remedy }
    }

    fn ok(what: impl Into<String>) -> Self {
        Self::new(State::Ok, what, "")
    }

    /// A server's failure, and the remedy of its reason.
    fn failed(error: &mingle_store::Error, remedy: impl Fn(Why) -> &'static str) -> Self {
        Self::new(State::Fail, error.words(), remedy(error.why()))
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

/// Tells of each step as it ends.
struct Report {
    json: bool,
    steps: u32,
    failed: bool,
}

impl Report {
    /// Runs a step; false when it failed.
    async fn step(&mut self, name: &str, step: impl Future<Output = Found>) -> bool {
        let begin = Instant::now();
        let found = timeout(STEP, step).await.unwrap_or_else(|_| {
            Found::new(State::Fail, "no answer within 15 s", "see that the server answers at all")
        });
        self.tell(name, begin.elapsed(), &found);
        found.state != State::Fail
    }

    /// Tells that steps are not run.
    fn skip(&mut self, names: &[&str], why: &str) {
        for name in names {
            self.tell(name, Duration::ZERO, &Found::new(State::Skip, why, ""));
        }
    }

    fn tell(&mut self, name: &str, took: Duration, found: &Found) {
        self.steps += 1;
        self.failed |= found.state == State::Fail;
        let latency_ms = (took.as_secs_f64() * 10_000.0).round() / 10.0;
        let Found { state, what, remedy } = found;
        let line = Line { step: self.steps, name, state: *state, latency_ms, found: what, remedy };
        let text = if self.json { serde_json::json!(line).to_string() } else { words(&line) };
        // Whoever closed our standard output does not want it.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
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
    let head = format!("{step}. {name:<16} {state:<4} {latency_ms:>7.1} ms  {found}");
    if remedy.is_empty() { head } else { format!("{head}\n   -> {remedy}") }
}

/// Runs every step; the exit code is 1 when one failed.
pub(crate) async fn run(config: &Config, roles: &[Role], json: bool) -> anyhow::Result<ExitCode> {
    let mut problems = Problems::default();
    let for_redis: Option<RedisConfig> = config.section(&mut problems);
    let for_database: Option<DatabaseConfig> = config.section(&mut problems);
    let at_redis = sources::redis(config.environment(), config.mode(), &mut problems);
    let at_database = sources::database(config.environment(), &mut problems);
    problems.into_result()?;
    let mut report = Report { json, steps: 0, failed: false };
    report.step("configuration", async { configuration::check(config, roles) }).await;
    let missing = "is not set: nothing to ask";
    match at_redis.zip(for_redis) {
        Some((source, config)) => redis::check(&mut report, &source, &config).await,
        None => report.skip(redis::STEPS, &format!("REDIS_URL {missing}")),
    }
    match at_database.zip(for_database) {
        Some((source, config)) => database::check(&mut report, &source, &config).await,
        None => report.skip(database::STEPS, &format!("DATABASE_URL {missing}")),
    }
    Ok(ExitCode::from(u8::from(report.failed)))
}
