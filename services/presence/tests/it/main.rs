//! The one test binary of presence.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, also in functions that tests share"
)]

mod conformance;
mod domain;
mod dropped;
mod grpc;
mod harness;
mod processes;
mod store;
mod watch;
