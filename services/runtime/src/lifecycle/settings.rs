//! The sections that belong to the process itself.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use crate::{
    config::{Problems, Section},
    grpc,
};

/// `[process]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Time to drain after a signal.
    pub grace_ms: u64,
    /// What is logged.
    pub log: String,
}

/// `[probes]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbesConfig {
    /// Where probes and metrics are served.
    pub listen: SocketAddr,
}

/// `[data]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The folder of the embedded backends.
    pub dir: PathBuf,
}

impl Section for ProcessConfig {
    const NAME: &'static str = "process";
    const DEFAULTS: &'static str = grpc::Config::DEFAULTS;

    fn validate(&self, problems: &mut Problems) {
        let bounded = (100..=600_000).contains(&self.grace_ms);
        problems.require(bounded, "process.grace_ms", "must be 100 to 600000");
        let parsed = self.log.parse::<tracing_subscriber::EnvFilter>();
        problems.require(parsed.is_ok(), "process.log", "is not a filter such as info,sqlx=warn");
    }
}

impl Section for ProbesConfig {
    const NAME: &'static str = "probes";
    const DEFAULTS: &'static str = grpc::Config::DEFAULTS;

    fn validate(&self, _: &mut Problems) {}
}

impl Section for DataConfig {
    const NAME: &'static str = "data";
    const DEFAULTS: &'static str = grpc::Config::DEFAULTS;

    fn validate(&self, problems: &mut Problems) {
        problems.require(!self.dir.as_os_str().is_empty(), "data.dir", "must not be empty");
    }
}
