//! What a caller knows of a limit by its own configuration.

use std::time::Duration;

/// What decides when nobody can count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
