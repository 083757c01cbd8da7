//! The shared backends, each against its written guarantees.

mod breaker;
mod bus;
mod commit;
mod failover;
mod sqlite;
