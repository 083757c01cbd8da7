//! Matchmaking, against its written guarantees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod config;
mod crowd;
mod drift;
mod fakes;
mod faults;
mod grpc;
mod index;
mod lifetime;
mod limits;
mod many;
mod plans;
mod queue;
mod redis;
mod restart;
mod rows_index;
mod through;
mod tickets;
mod watch;
mod world;
