//! Chat, tested: the store's contract over each backend, the same through
//! gRPC, and what happens when many write, follow, stall and grow old.

mod bus;
mod conformance;
mod crowd;
mod fields;
mod follow;
mod grpc;
mod ledger;
mod plans;
mod reader;
mod slow;
mod stage;
mod store;
mod time;
