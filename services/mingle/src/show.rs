//! Prints the configuration that a process would have.

use std::io::Write as _;

use anyhow::Context as _;
use mingle_runtime::{
    Role,
    config::{Config, Environment, Mode, Problems, sources},
};

use crate::{backends::place, judge};

/// Prints it as TOML, with what is no part of it as comments.
///
/// **Errors**: [`Problems`], all of them, when a start would refuse it.
pub(crate) fn run(config: &Config, roles: &[Role]) -> anyhow::Result<()> {
    judge::judge(config, roles).into_plan()?;
    let text = format!("{}{}", head(config, roles), config.to_toml());
    std::io::stdout().lock().write_all(text.as_bytes()).context("standard output")
}

/// What the environment says beside the keys.
fn head(config: &Config, roles: &[Role]) -> String {
    let environment = config.environment();
    let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
    let mode = match config.mode() {
        Mode::Production => "production",
        Mode::Development => "development",
    };
    let mut lines = vec![
        format!("mingle {}: {}", env!("CARGO_PKG_VERSION"), names.join(" ")),
        format!("mode: {mode}{}", by(environment, &["MINGLE_ENV", "REPLIT_DEPLOYMENT"])),
        redis(config),
        database(environment),
    ];
    let exports: Vec<_> = environment.names("OTEL_").collect();
    if !exports.is_empty() {
        lines.push(format!("telemetry: {}", exports.join(", ")));
    }
    for stranger in environment.strangers() {
        lines.push(format!("unknown variable, misspelt? {stranger}"));
    }
    lines.push("Values that are no default say which file or variable sets them.".to_owned());
    lines.iter().map(|line| format!("# {}\n", line.escape_debug())).collect()
}

fn redis(config: &Config) -> String {
    let environment = config.environment();
    // Judged before: there are none.
    let told = &mut Problems::default();
    let Some(redis) = sources::redis(environment, config.mode(), told) else {
        return format!("redis: none{}", by(environment, &["REDIS_ENABLED"]));
    };
    let mut line = format!("redis: {}", place(redis.url.expose()));
    if redis.url.expose().starts_with("rediss:") {
        line.push_str(" by TLS");
    }
    line.push_str(&by(environment, &[redis.variable]));
    if !redis.key_prefix.is_empty() {
        line.push_str(&format!(", keys begin with {} (REDIS_ADAPTER_KEY)", redis.key_prefix));
    }
    if let Some(ms) = redis.request_timeout_ms {
        line.push_str(&format!(", timeout_ms is {ms} (REDIS_REQUESTS_TIMEOUT)"));
    }
    if let Some(cache) = sources::cache(environment, Some(&redis), told) {
        line.push_str(&format!("; for what may be forgotten: {}", place(cache.url.expose())));
        line.push_str(&by(environment, &[cache.variable]));
    }
    line
}

fn database(environment: &Environment) -> String {
    let told = &mut Problems::default();
    let Some(database) = sources::database(environment, told) else {
        return "postgresql: none".to_owned();
    };
    let mut line = format!("postgresql: {}", place(database.url.expose()));
    line.push_str(&by(environment, &["DATABASE_URL"]));
    if let Some(direct) = &database.direct_url {
        line.push_str(&format!(", past a pooler: {}", place(direct.expose())));
        line.push_str(&by(environment, &["DATABASE_DIRECT_URL"]));
    }
    line
}

/// Which of these variables is set, in parentheses.
fn by(environment: &Environment, names: &[&str]) -> String {
    let holder = names.iter().find_map(|name| environment.holder(name));
    holder.map(|holder| format!(" ({holder})")).unwrap_or_default()
}
