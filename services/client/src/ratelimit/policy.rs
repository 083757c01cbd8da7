//! What a caller knows of a limit by its own configuration.

use std::time::Duration;

use serde::Deserialize;

/// What decides when nobody can count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outage {
    /// This process counts its share of the quota in memory.
    #[default]
    Local,
    /// Everything is allowed.
    Open,
    /// Everything is denied.
    Closed,
}

/// A limit of the service, with what decides in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name in the service's configuration.
    pub limit: String,
    /// As there: cost that a window admits.
    pub quota: u64,
    /// As there.
    pub window: Duration,
    /// What decides when nobody can count.
    pub outage: Outage,
}

/// What a caller's configuration says of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Cost that a window admits, at least 1.
    pub quota: u64,
    /// Length of the window, 1 to 86,400,000: a day.
    pub window_ms: u64,
    /// `local`, `open` or `closed`.
    pub outage: Outage,
}

/// No limit of a caller is remembered for longer.
const MAX_WINDOW_MS: u64 = 86_400_000;

impl Terms {
    /// What is wrong with them: the key, and why.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let quota = (self.quota == 0).then_some(("quota", "must be at least 1"));
        let is_window = (1..=MAX_WINDOW_MS).contains(&self.window_ms);
        let window = (!is_window).then_some(("window_ms", "must be 1 to 86400000"));
        quota.into_iter().chain(window)
    }

    /// These terms of the limit with this name.
    pub fn of(self, limit: &str) -> Policy {
        let window = Duration::from_millis(self.window_ms);
        Policy { limit: limit.to_owned(), quota: self.quota, window, outage: self.outage }
    }
}
