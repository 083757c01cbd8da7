//! The RPCs, of one process in memory and of several over one Redis.

mod bounds;
mod changes;
mod loads;
mod outage;
mod stage;
mod watching;
