//! Whole-system tests, and the rules of the tree. One binary, a module each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, also in functions that tests share"
)]

mod again;
mod architecture;
mod bad_input;
mod cached;
mod check;
mod check_called;
mod check_places;
mod checker;
mod command;
mod configuration;
mod crash;
mod damaged;
mod deploy;
mod devices;
mod exemplars;
mod grpc;
mod half_open;
mod http;
mod ledger;
mod limiter;
mod limits;
mod main_job;
mod meanings;
mod migrate;
mod minted;
mod nemesis;
mod outcomes;
mod probe;
mod processes;
mod refused;
mod resume;
mod roles;
mod seekers;
mod shutdown;
mod slow;
mod slowloris;
mod stalled;
mod stats;
mod talkers;
mod trace;
mod world;
