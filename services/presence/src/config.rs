//! The `[presence]` section.

use mingle_runtime::config::{Problems, Section};
use serde::Deserialize;

use crate::{domain::Terms, store::Limits};

/// How presence counts, and its bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A node counts as alive this long after its last renewal.
    pub lease_ms: u32,
    /// How often nodes are told to renew.
    pub renew_ms: u32,
    /// How long a session that ended may return without anyone noticing.
    pub grace_ms: u32,
    /// Live sessions that one user may have.
    pub max_sessions_per_user: usize,
    /// Nodes, alive or in grace.
    pub max_nodes: usize,
    /// Sessions, live or in grace.
    pub max_sessions: usize,
    /// Offline users whose last proof of life is remembered.
    pub max_last_seen: usize,
    /// Users that one Watch stream may follow.
    pub max_watched_users: usize,
    /// How often users are looked at whose status time alone changes.
    pub sweep_interval_ms: u64,
    /// Users looked at by one sweep.
    pub sweep_users: usize,
}

impl Config {
    /// How long what lives.
    pub fn terms(&self) -> Terms {
        Terms {
            lease_ms: self.lease_ms.into(),
            grace_ms: self.grace_ms.into(),
            max_sessions_per_user: self.max_sessions_per_user,
        }
    }

    /// The bounds of the store.
    pub fn limits(&self) -> Limits {
        Limits {
            max_nodes: self.max_nodes,
            max_sessions: self.max_sessions,
            max_last_seen: self.max_last_seen,
            sweep_users: self.sweep_users,
        }
    }
}

impl Section for Config {
    const NAME: &'static str = "presence";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");

    fn validate(&self, problems: &mut Problems) {
        let renewed = 0 < self.renew_ms && self.renew_ms <= self.lease_ms + self.grace_ms;
        problems.require(renewed, "presence.renew_ms", "must be 1 to lease_ms + grace_ms");
        problems.require(self.lease_ms > 0, "presence.lease_ms", "must be at least 1");
        let swept = (1..=250).contains(&self.sweep_interval_ms);
        problems.require(swept, "presence.sweep_interval_ms", "must be 1 to 250");
        let bounds = [
            (self.max_sessions_per_user, "presence.max_sessions_per_user"),
            (self.max_nodes, "presence.max_nodes"),
            (self.max_sessions, "presence.max_sessions"),
            (self.max_last_seen, "presence.max_last_seen"),
            (self.max_watched_users, "presence.max_watched_users"),
            (self.sweep_users, "presence.sweep_users"),
        ];
        for (bound, key) in bounds {
            problems.require(bound > 0, key, "must be at least 1");
        }
    }
}
