//! The bus: one suite over every kind, and what faults do to those that have
//! servers.

mod between;
mod chaos;
mod cluster;
mod conformance;
mod fallback;
mod follower;
mod library;
mod loss;
mod memory;
pub(crate) mod reader;
mod sentinel;
pub(crate) mod stage;
mod subscribe;
