//! The `[grpc]` section.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::config::{Problems, Secret, Section};

/// How a process serves and calls gRPC.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Unary calls in flight; beyond, calls are refused.
    pub max_in_flight: usize,
    /// Open streams; beyond, calls are refused.
    pub max_streams: usize,
    /// The deadline of a call that brings none.
    pub default_deadline_ms: u64,
    /// No deadline is longer.
    pub max_deadline_ms: u64,
    /// A stream ends after this time, give or take a tenth.
    pub max_stream_age_ms: u64,
    /// What callers prove to be ours with; empty: none is asked for.
    pub internal_token: Secret,
    /// Serves without token beyond loopback: the network is trusted.
    pub trust_network: Flag,
}

/// A boolean that also reads `1` and `0`, as environments write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawFlag")]
pub struct Flag(pub bool);

#[derive(Deserialize)]
#[serde(untagged)]
enum RawFlag {
    Bool(bool),
    Number(u8),
}

impl TryFrom<RawFlag> for Flag {
    type Error = &'static str;

    fn try_from(raw: RawFlag) -> Result<Self, Self::Error> {
        match raw {
            RawFlag::Bool(value) => Ok(Self(value)),
            RawFlag::Number(0) => Ok(Self(false)),
            RawFlag::Number(1) => Ok(Self(true)),
            RawFlag::Number(_) => Err("is not true or false"),
        }
    }
}

impl Section for Config {
    const NAME: &'static str = "grpc";
    const DEFAULTS: &'static str = include_str!("../../config.default.toml");

    fn validate(&self, problems: &mut Problems) {
        problems.require(self.max_in_flight > 0, "grpc.max_in_flight", "must be at least 1");
        problems.require(self.max_streams > 0, "grpc.max_streams", "must be at least 1");
        let ordered =
            0 < self.default_deadline_ms && self.default_deadline_ms <= self.max_deadline_ms;
        problems.require(ordered, "grpc.default_deadline_ms", "must be 1 to max_deadline_ms");
        problems.require(
            self.max_stream_age_ms >= 1000,
            "grpc.max_stream_age_ms",
            "must be at least 1000",
        );
        let token = self.internal_token.expose();
        let strong = token.is_empty() || token.len() >= 16;
        problems.require(strong, "grpc.internal_token", "must have at least 16 characters");
    }
}
