//! Chat, tested: the store's contract over each backend, the same through
//! gRPC, and what happens when many write, follow, stall and grow old.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, also in functions that tests share"
)]

mod between;
mod bus;
mod conformance;
mod crowd;
mod degraded;
mod doubt;
mod fields;
mod follow;
mod grpc;
mod ledger;
mod limits;
mod opening;
mod plans;
mod publishers;
mod reader;
mod settings;
mod slow;
mod stage;
mod store;
mod time;
mod upgrade;
