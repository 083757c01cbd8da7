//! The `[matchmaking]` section.

use std::{collections::BTreeMap, sync::Arc};

use mingle_client::ratelimit::{Policy, Terms};
use mingle_runtime::config::{Problems, Section};
use serde::Deserialize;

use crate::{
    domain::{
        Attribute, Pool, Rules,
        pool::{MAX_ATTRIBUTES, MAX_BUCKETS, MAX_VALUES, Pools},
    },
    service::LIMIT,
};

/// Longest name of a pool, an attribute or a value, in characters.
const MAX_NAME: usize = 64;

/// How tickets are matched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pause between two sweeps.
    pub sweep_ms: u64,
    /// What one sweep looks at, per pool and task.
    pub sweep_budget: u32,
    /// Days that ended tickets and matches are kept.
    pub retention_days: u32,
    /// Age at which any instance makes the room of a match.
    pub room_after_ms: i64,
    /// Rooms created at once.
    pub max_rooms: usize,
    /// Matches written at once.
    pub max_matches: usize,
    /// Deadline of a call of another service.
    pub call_ms: u64,
    /// Pause between two readings of what is followed.
    pub recheck_ms: u64,
    /// Of joins of one user, while ratelimit does not answer.
    pub limit: Terms,
    /// The pools, by name.
    pub pools: BTreeMap<String, PoolConfig>,
}

/// One pool. What is left out is as in `random-chat`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// Both must accept each other.
    pub mutual: bool,
    /// Attributes that each ticket must say.
    pub required: Vec<String>,
    /// Longest wait.
    pub ticket_ttl_ms: i64,
    /// How long two who met do not meet again.
    pub recent_partner_memory_ms: i64,
    /// Unless both have waited this long.
    pub recent_partner_relax_ms: i64,
    /// Lease of a ticket whose owner polls.
    pub lease_ms: i64,
    /// Silence after which a ticket is passed over.
    pub alive_ms: i64,
    /// How long an outcome is kept for its owner.
    pub outcome_ms: i64,
    /// What can be said and wanted.
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            mutual: true,
            required: Vec::new(),
            ticket_ttl_ms: 600_000,
            recent_partner_memory_ms: 300_000,
            recent_partner_relax_ms: 5_000,
            lease_ms: 30_000,
            alive_ms: 10_000,
            outcome_ms: 120_000,
            attributes: BTreeMap::new(),
        }
    }
}

impl Config {
    /// The limit that a join is charged to, as this process knows it.
    pub fn policy(&self) -> Policy {
        self.limit.of(LIMIT)
    }

    /// The pools. Those that cannot be built were reported by `validate`.
    pub fn pools(&self) -> Pools {
        let built = |(name, pool): (&String, &PoolConfig)| Some((name.clone(), pool.build(name)?));
        self.pools.iter().filter_map(built).collect()
    }
}

impl PoolConfig {
    fn build(&self, name: &str) -> Option<Arc<Pool>> {
        let attribute = |(name, values): (&String, &Vec<String>)| Attribute {
            name: name.clone(),
            values: values.clone(),
            required: self.required.contains(name),
        };
        let rules = Rules {
            mutual: self.mutual,
            ticket_ttl_ms: self.ticket_ttl_ms,
            recent_partner_memory_ms: self.recent_partner_memory_ms,
            recent_partner_relax_ms: self.recent_partner_relax_ms,
            lease_ms: self.lease_ms,
            alive_ms: self.alive_ms,
            outcome_ms: self.outcome_ms,
        };
        let attributes = self.attributes.iter().map(attribute).collect();
        Pool::new(name, attributes, rules).ok().map(Arc::new)
    }

    fn validate(&self, name: &str, problems: &mut Problems) {
        let key = |field: &str| format!("matchmaking.pools.{name}.{field}");
        let named = (1..=MAX_NAME).contains(&name.chars().count());
        problems.require(named, &key(""), "a pool's name has 1 to 64 characters");
        let positive = [
            ("ticket_ttl_ms", self.ticket_ttl_ms),
            ("lease_ms", self.lease_ms),
            ("alive_ms", self.alive_ms),
            ("outcome_ms", self.outcome_ms),
        ];
        for (field, value) in positive {
            problems.require(value > 0, &key(field), "must be above 0");
        }
        let not_negative = [
            ("recent_partner_memory_ms", self.recent_partner_memory_ms),
            ("recent_partner_relax_ms", self.recent_partner_relax_ms),
        ];
        for (field, value) in not_negative {
            problems.require(value >= 0, &key(field), "must not be negative");
        }
        for required in &self.required {
            let known = self.attributes.contains_key(required);
            problems.require(known, &key("required"), "names an attribute that is not there");
        }
        for (attribute, values) in &self.attributes {
            validate_values(&key(&format!("attributes.{attribute}")), attribute, values, problems);
        }
        if self.build(name).is_none() {
            let why = format!(
                "more than {MAX_BUCKETS} combinations of values and wants, \
                 {MAX_ATTRIBUTES} attributes, or {MAX_VALUES} values of one"
            );
            problems.add(&key("attributes"), why);
        }
    }
}

fn validate_values(key: &str, name: &str, values: &[String], problems: &mut Problems) {
    let short = |text: &str| (1..=MAX_NAME).contains(&text.chars().count());
    problems.require(short(name), key, "a name has 1 to 64 characters");
    problems.require(!values.is_empty(), key, "has no values");
    problems.require(values.iter().all(|it| short(it)), key, "a value has 1 to 64 characters");
    let distinct: std::collections::BTreeSet<&String> = values.iter().collect();
    problems.require(distinct.len() == values.len(), key, "names a value twice");
}

impl Section for Config {
    const NAME: &'static str = "matchmaking";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");

    fn validate(&self, problems: &mut Problems) {
        let positive = [
            ("matchmaking.sweep_ms", self.sweep_ms > 0),
            ("matchmaking.sweep_budget", self.sweep_budget > 0),
            ("matchmaking.retention_days", self.retention_days > 0),
            ("matchmaking.room_after_ms", self.room_after_ms > 0),
            ("matchmaking.max_rooms", self.max_rooms > 0),
            ("matchmaking.max_matches", self.max_matches > 0),
            ("matchmaking.call_ms", self.call_ms > 0),
            ("matchmaking.recheck_ms", self.recheck_ms > 0),
        ];
        for (key, holds) in positive {
            problems.require(holds, key, "must be above 0");
        }
        for (key, why) in self.limit.faults() {
            problems.add(&format!("matchmaking.limit.{key}"), why);
        }
        // Owners are asked for, and rows read by id, 1,000 at a time.
        problems.require(self.sweep_budget <= 1_000, "matchmaking.sweep_budget", "is above 1000");
        problems.require(!self.pools.is_empty(), "matchmaking.pools", "there is no pool");
        for (name, pool) in &self.pools {
            pool.validate(name, problems);
        }
    }
}
