//! The cache from outside: its backends, each through one suite, and its RPCs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, also in functions that tests share"
)]

mod conformance;
mod kept;
mod races;
mod rpcs;
mod store;
mod world;
