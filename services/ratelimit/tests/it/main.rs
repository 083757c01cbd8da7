//! The one test binary of rate limits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, also in functions that tests share"
)]

mod ahead;
mod conformance;
mod denials;
mod descriptors;
mod domain;
mod grpc;
mod model;
mod outage;
mod redis;
mod schedules;
mod slices;
mod store;
mod through;
mod world;
