//! The `[gateway]` section.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use mingle_runtime::config::{Problems, Secret, Section};
use serde::Deserialize;

use crate::throttle::Classes;

/// Secrets shorter than this can be guessed (RFC 7518 asks for the hash's size).
const MIN_SECRET: usize = 32;

/// What waits to be accepted, in seconds of accepting.
const BACKLOG_SECONDS: u32 = 4;
/// Room for a browser's first connections, however slowly they are accepted.
const LEAST_BACKLOG: u32 = 16;
/// Of the kernel, whose own bound (`net.core.somaxconn`) may be lower.
const MOST_BACKLOG: u32 = 65_535;

/// How the gateway listens, whom it believes, and its bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Verifies users' tokens.
    pub jwt_secret: Secret,
    /// Whom tokens must be for.
    pub jwt_audience: String,
    /// Whom tokens must be from.
    pub jwt_issuer: String,
    /// Signs resume tokens.
    pub session_secret: Secret,
    /// How long a session can be resumed.
    pub resume_ttl_ms: u32,
    /// Whose pages may connect, and ask over HTTP, besides our own.
    pub allowed_origins: Vec<String>,
    /// Who is believed about where a request came from.
    pub trusted_proxies: Vec<IpNet>,
    /// Tell X-RateLimit-* beside RateLimit.
    pub older_ratelimit_headers: bool,
    /// How often one may ask.
    pub classes: Classes,
    /// Development tokens for the network.
    pub dev_tokens_beyond_loopback: bool,
    /// Life of development tokens.
    pub dev_token_ttl_ms: u32,
    /// Bounds.
    pub limits: Limits,
}

/// The bounds of the gateway; units in the names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents each")]
pub struct Limits {
    pub max_connections: usize,
    pub accepts_per_second: u32,
    pub hellos_at_once: usize,
    pub replays_at_once: usize,
    pub hello_timeout_ms: u32,
    pub frame_bytes: usize,
    pub outbound_bytes: usize,
    pub rooms_per_connection: usize,
    pub watched_users: usize,
    pub ping_interval_ms: u32,
    pub dead_after_ms: u32,
    pub ticket_ping_ms: u32,
    pub http_body_bytes: usize,
}

impl Limits {
    /// Time for the first frame.
    pub fn hello_timeout(&self) -> Duration {
        Duration::from_millis(self.hello_timeout_ms.into())
    }

    /// Connections that wait in the kernel until they are accepted. Whoever
    /// waits longer than they last has given up, and to accept that costs as
    /// much as to serve.
    pub(crate) fn backlog(&self) -> u32 {
        self.accepts_per_second.saturating_mul(BACKLOG_SECONDS).clamp(LEAST_BACKLOG, MOST_BACKLOG)
    }

    /// The pause between pings, with and without a waiting ticket.
    pub fn ping_interval(&self, waiting: bool) -> Duration {
        let usual = self.ping_interval_ms;
        let ms = if waiting { usual.min(self.ticket_ping_ms) } else { usual };
        Duration::from_millis(ms.into())
    }

    /// Silence after which a socket is dead.
    pub fn dead_after(&self) -> Duration {
        Duration::from_millis(self.dead_after_ms.into())
    }
}

impl Section for Config {
    const NAME: &'static str = "gateway";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");

    fn validate(&self, problems: &mut Problems) {
        for (key, variable, secret) in [
            ("gateway.jwt_secret", "MINGLE_JWT_SECRET", &self.jwt_secret),
            ("gateway.session_secret", "MINGLE_SESSION_SECRET", &self.session_secret),
        ] {
            if secret.is_empty() {
                problems.add(key, format_args!("is missing: set {variable}"));
            } else if secret.expose().len() < MIN_SECRET {
                problems.add(key, format_args!("has fewer than {MIN_SECRET} characters"));
            }
        }
        self.classes.validate(problems);
        let limits = &self.limits;
        let mut at_least = |value: usize, least: usize, key: &str| {
            let key = format!("gateway.limits.{key}");
            problems.require(value >= least, &key, &format!("must be at least {least}"));
        };
        at_least(limits.max_connections, 1, "max_connections");
        at_least(limits.accepts_per_second as usize, 1, "accepts_per_second");
        at_least(limits.hellos_at_once, 1, "hellos_at_once");
        at_least(limits.replays_at_once, 1, "replays_at_once");
        at_least(limits.hello_timeout_ms as usize, 100, "hello_timeout_ms");
        at_least(limits.frame_bytes, 1024, "frame_bytes");
        at_least(limits.outbound_bytes, limits.frame_bytes, "outbound_bytes");
        at_least(limits.rooms_per_connection, 1, "rooms_per_connection");
        at_least(limits.ticket_ping_ms as usize, 100, "ticket_ping_ms");
        at_least(limits.ping_interval_ms as usize, 100, "ping_interval_ms");
        at_least(limits.dead_after_ms as usize, limits.ping_interval_ms as usize, "dead_after_ms");
        at_least(limits.http_body_bytes, 1024, "http_body_bytes");
    }
}
