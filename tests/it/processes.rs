//! Many processes over one Redis and one PostgreSQL, some of which are killed.

mod attempts;
mod bystanders;
mod chaos;
mod chat_killed;
mod chat_stopped;
mod clocks;
mod cluster;
mod disk_full;
mod fallen;
mod flicker;
mod gateway_killed;
mod gateway_stopped;
mod gone;
mod hasty;
mod health;
mod hellos;
mod idle;
mod limits;
mod lost_welcome;
mod matchmaking_killed;
pub(crate) mod monitor;
mod old_snapshot;
mod one_wish;
mod pages;
mod pairs;
mod people;
mod pinned;
mod pooler;
mod postgres_away;
mod put_back;
mod quiet_log;
mod redis_away;
mod redis_cut;
mod redis_frozen;
mod redis_unwilling;
mod rolling;
mod route_limits;
mod searchers;
mod sentinels;
mod single_faults;
mod stats;
mod storm;
mod strangers;
mod told;
mod unannounced;

use mingle_testkit::{Deployment, Plan};

use crate::world::SECRET;

/// How to start a deployment whose tokens [`crate::world::token`] mints.
fn plan() -> Plan {
    Deployment::plan()
        .env("MINGLE_JWT_SECRET", SECRET)
        .env("MINGLE_SESSION_SECRET", SECRET)
        .env("MINGLE_PROCESS__LOG", "warn")
}

/// The WebSocket of each gateway.
fn urls(deployment: &Deployment) -> Vec<String> {
    deployment.gateways().iter().map(|at| format!("ws://{at}/ws")).collect()
}
