//! The client against a gateway that says what the test wants.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, also in functions that tests share"
)]

mod client;
mod gateway;
#[cfg(feature = "ratelimit")]
mod ratelimit;
mod socket;
