//! The shared backends, each against its written guarantees.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod breaker;
mod bus;
mod commit;
mod failover;
mod gate;
mod pooler;
mod postgres;
mod redis;
mod sqlite;
