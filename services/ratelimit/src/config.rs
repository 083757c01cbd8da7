//! The `[ratelimit]` section.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use mingle_runtime::config::{Problems, Section, parse_span};
use serde::Deserialize;

use crate::{
    domain::{self, Limit, Limits, MAX_QUOTA},
    store::memory::Bounds,
};

/// Limits that may be configured.
const MAX_LIMITS: usize = 256;
const MAX_NAME: usize = 64;
/// Leases of one subject that may be held at once.
const MAX_HELD: u64 = 100_000;
pub(crate) const MAX_WINDOW_US: u64 = 366 * 86_400_000_000;

/// The limits, and how they are counted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Milliseconds that a call to Redis may take.
    pub timeout_ms: u64,
    /// How long a charge can be repeated or refunded at most.
    pub remember_ms: u64,
    /// Subjects held in memory.
    pub max_subjects: usize,
    /// Charges of one subject that memory remembers.
    pub max_charges: usize,
    /// Subjects that a process on Redis counts by itself.
    pub max_subjects_alone: usize,
    /// A file of rules for descriptors, or a folder of them; empty: none.
    pub descriptors: PathBuf,
    /// The limits by name.
    pub limits: BTreeMap<String, LimitConfig>,
}

/// One limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// How it counts.
    pub algorithm: Algorithm,
    /// Cost that a window admits.
    pub quota: u64,
    /// The length of the window, such as `1m30s`.
    pub window: String,
    /// gcra and token_bucket only: cost admitted at once; 1 and the quota if not said.
    pub burst: Option<u64>,
    /// What answers when nobody can count.
    #[serde(default)]
    pub outage: Outage,
    /// Counted and reported, never denied.
    #[serde(default)]
    pub shadow: bool,
}

/// How a limit counts.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Exact windows.
    SlidingWindow,
    /// An even pace.
    Gcra,
    /// A bucket that is filled at an even pace.
    TokenBucket,
    /// Windows between multiples of their length.
    FixedWindow,
    /// What is held at once.
    Concurrency,
}

/// What answers when nobody can count.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// Each process counts its share.
    #[default]
    Local,
    /// All is allowed.
    Open,
    /// All is denied.
    Closed,
}

impl From<Algorithm> for domain::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::SlidingWindow => Self::SlidingWindow,
            Algorithm::Gcra => Self::Gcra,
            Algorithm::TokenBucket => Self::TokenBucket,
            Algorithm::FixedWindow => Self::FixedWindow,
            Algorithm::Concurrency => Self::Concurrency,
        }
    }
}

impl From<Outage> for domain::Outage {
    fn from(outage: Outage) -> Self {
        match outage {
            Outage::Local => Self::Local,
            Outage::Open => Self::Open,
            Outage::Closed => Self::Closed,
        }
    }
}

impl LimitConfig {
    fn bursts(&self) -> bool {
        matches!(self.algorithm, Algorithm::Gcra | Algorithm::TokenBucket)
    }

    /// What is admitted at once.
    fn burst(&self) -> u64 {
        let usual = if let Algorithm::TokenBucket = self.algorithm { self.quota } else { 1 };
        self.burst.unwrap_or(usual)
    }

    fn limit(&self, name: &str) -> Option<Limit> {
        Some(Limit {
            name: name.into(),
            algorithm: self.algorithm.into(),
            quota: self.quota,
            window_us: parse_span(&self.window).ok()?,
            burst: self.burst(),
            outage: self.outage.into(),
            shadow: self.shadow,
            parts: 1,
        })
    }

    fn validate(&self, name: &str, problems: &mut Problems) {
        let key = |rest: &str| format!("ratelimit.limits.{name}.{rest}");
        let quoted = (1..=MAX_QUOTA).contains(&self.quota);
        problems.require(quoted, &key("quota"), "must be 1 to 1000000000");
        let held = matches!(self.algorithm, Algorithm::Concurrency);
        let bounded = !held || self.quota <= MAX_HELD;
        problems.require(bounded, &key("quota"), "must be at most 100000 of concurrency");
        let window_us = match parse_span(&self.window) {
            Ok(window_us) => window_us,
            Err(error) => return problems.add(&key("window"), error),
        };
        let bounded = window_us <= MAX_WINDOW_US;
        problems.require(bounded, &key("window"), "must be at most 366d");
        if self.bursts() {
            let paced = self.quota <= window_us;
            let why = "must be at most one per microsecond of the window";
            problems.require(paced, &key("quota"), why);
            let within = (1..=self.quota).contains(&self.burst());
            problems.require(within, &key("burst"), "must be 1 to the quota");
        } else {
            let why = "is of gcra and token_bucket alone";
            problems.require(self.burst.is_none(), &key("burst"), why);
        }
    }
}

impl Config {
    /// The limits by name.
    pub fn limits(&self) -> Limits {
        let limit = |(name, config): (&String, &LimitConfig)| {
            Some((name.clone(), Arc::new(config.limit(name)?)))
        };
        self.limits.iter().filter_map(limit).collect()
    }

    /// Where the rules for descriptors are.
    pub fn descriptors(&self) -> Option<&Path> {
        (!self.descriptors.as_os_str().is_empty()).then_some(&*self.descriptors)
    }

    /// What memory may hold.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            max_subjects: self.max_subjects,
            max_charges: self.max_charges,
            remember_us: self.remember_us(),
        }
    }

    /// What a process on Redis may hold for when it is away.
    pub fn bounds_alone(&self) -> Bounds {
        Bounds { max_subjects: self.max_subjects_alone, ..self.bounds() }
    }

    pub(crate) fn remember_us(&self) -> u64 {
        self.remember_ms * 1_000
    }
}

impl Section for Config {
    const NAME: &'static str = "ratelimit";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");

    fn validate(&self, problems: &mut Problems) {
        let bounded = (1..=60_000).contains(&self.timeout_ms);
        problems.require(bounded, "ratelimit.timeout_ms", "must be 1 to 60000");
        let remembered = (1..=86_400_000).contains(&self.remember_ms);
        problems.require(remembered, "ratelimit.remember_ms", "must be 1 to 86400000");
        problems.require(self.max_subjects > 0, "ratelimit.max_subjects", "must be at least 1");
        problems.require(self.max_charges > 0, "ratelimit.max_charges", "must be at least 1");
        let alone = self.max_subjects_alone > 0;
        problems.require(alone, "ratelimit.max_subjects_alone", "must be at least 1");
        let few = self.limits.len() <= MAX_LIMITS;
        problems.require(few, "ratelimit.limits", "must be at most 256");
        for (name, limit) in &self.limits {
            let named = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_name);
            let why = "is no name: 1 to 64 of a-z 0-9 _ - .";
            problems.require(named, &format!("ratelimit.limits.{name}"), why);
            limit.validate(name, problems);
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.')
}
