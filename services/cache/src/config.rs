//! The `[cache]` section.

use std::{collections::BTreeMap, sync::Arc};

use mingle_runtime::config::{Problems, Section, parse_span};
use serde::Deserialize;

use crate::domain::{Namespace, Namespaces};

/// Namespaces that may be configured.
const MAX_NAMESPACES: usize = 256;
const MAX_NAME: usize = 64;
/// Half of what a gRPC message may have.
const MAX_VALUE: usize = 2 * 1024 * 1024;
const LONGEST_US: u64 = 366 * 86_400_000_000;

/// The namespaces, and where their values are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Milliseconds that a call to Redis may take.
    pub timeout_ms: u64,
    /// Bytes of values in memory, where there is no Redis or while it is away.
    pub memory_bytes: u64,
    /// The namespaces by name.
    pub namespaces: BTreeMap<String, NamespaceConfig>,
}

/// One namespace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceConfig {
    /// For how long a value is fresh, such as `5m`.
    pub soft: String,
    /// For how long it is served at all.
    pub hard: String,
    /// For how long a call may have one served; `hard` if not said.
    pub longest: Option<String>,
    /// By how much of both a value may end earlier.
    #[serde(default = "usual::jitter")]
    pub jitter: f64,
    /// How long a loader has.
    #[serde(default = "usual::span")]
    pub lease: String,
    /// The beta of early refresh.
    #[serde(default = "usual::early")]
    pub early: f64,
    /// For how long absence is kept; not at all if not said.
    pub absent: Option<String>,
    /// For how long a value is served on when it could not be loaded.
    #[serde(default = "usual::span")]
    pub throttle: String,
    /// Bytes that a value may have.
    #[serde(default = "usual::max_value")]
    pub max_value_bytes: usize,
    /// Bytes from which on it is compressed.
    #[serde(default = "usual::compress_from")]
    pub compress_from_bytes: usize,
    /// Bytes of values in the memory of each process.
    #[serde(default = "usual::local")]
    pub local_bytes: u64,
}

/// What holds where nothing is said.
mod usual {
    pub(super) fn jitter() -> f64 {
        0.1
    }

    pub(super) fn early() -> f64 {
        1.0
    }

    pub(super) fn span() -> String {
        "10s".to_owned()
    }

    pub(super) fn max_value() -> usize {
        1024 * 1024
    }

    pub(super) fn compress_from() -> usize {
        1024
    }

    pub(super) fn local() -> u64 {
        64 * 1024 * 1024
    }
}

impl NamespaceConfig {
    fn namespace(&self, name: &str) -> Option<Namespace> {
        let span = |text: &str| parse_span(text).ok();
        let hard_us = span(&self.hard)?;
        Some(Namespace {
            name: name.into(),
            soft_us: span(&self.soft)?,
            hard_us,
            longest_us: self.longest.as_deref().map_or(Some(hard_us), span)?,
            jitter: self.jitter,
            lease_us: span(&self.lease)?,
            early: self.early,
            absent_us: self.absent.as_deref().map_or(Some(0), span)?,
            throttle_us: span(&self.throttle)?,
            max_value: self.max_value_bytes,
            compress_from: self.compress_from_bytes,
            local_bytes: self.local_bytes,
        })
    }

    fn validate(&self, name: &str, problems: &mut Problems) {
        let key = |rest: &str| format!("cache.namespaces.{name}.{rest}");
        let spans = [
            ("soft", Some(&self.soft)),
            ("hard", Some(&self.hard)),
            ("longest", self.longest.as_ref()),
            ("lease", Some(&self.lease)),
            ("absent", self.absent.as_ref()),
            ("throttle", Some(&self.throttle)),
        ];
        for (field, text) in spans {
            match text.map(|text| parse_span(text)) {
                Some(Err(error)) => problems.add(&key(field), error),
                Some(Ok(us)) => {
                    problems.require(us <= LONGEST_US, &key(field), "must be at most 366d");
                }
                None => {}
            }
        }
        problems.require((0.0..=0.5).contains(&self.jitter), &key("jitter"), "must be 0 to 0.5");
        problems.require((0.0..=100.0).contains(&self.early), &key("early"), "must be 0 to 100");
        let bounded = (1..=MAX_VALUE).contains(&self.max_value_bytes);
        problems.require(bounded, &key("max_value_bytes"), "must be 1 to 2097152");
        if let Some(Namespace { soft_us, hard_us, longest_us, absent_us, .. }) =
            self.namespace(name)
        {
            problems.require(soft_us <= hard_us, &key("soft"), "must be at most hard");
            problems.require(hard_us <= longest_us, &key("hard"), "must be at most longest");
            problems.require(absent_us <= longest_us, &key("absent"), "must be at most longest");
        }
    }
}

impl Config {
    /// The namespaces by name.
    pub fn namespaces(&self) -> Namespaces {
        let namespace = |(name, config): (&String, &NamespaceConfig)| {
            Some((name.clone(), Arc::new(config.namespace(name)?)))
        };
        self.namespaces.iter().filter_map(namespace).collect()
    }
}

impl Section for Config {
    const NAME: &'static str = "cache";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");

    fn validate(&self, problems: &mut Problems) {
        let bounded = (1..=60_000).contains(&self.timeout_ms);
        problems.require(bounded, "cache.timeout_ms", "must be 1 to 60000");
        let few = self.namespaces.len() <= MAX_NAMESPACES;
        problems.require(few, "cache.namespaces", "must be at most 256");
        for (name, namespace) in &self.namespaces {
            let named = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_name);
            let why = "is no name: 1 to 64 of a-z 0-9 _ - .";
            problems.require(named, &format!("cache.namespaces.{name}"), why);
            namespace.validate(name, problems);
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.')
}
