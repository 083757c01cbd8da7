//! The RPCs, of one process in memory and of several over one Redis.

mod bounds;
mod changes;
mod client;
mod loads;
mod outage;
pub(crate) mod stage;
mod watching;
