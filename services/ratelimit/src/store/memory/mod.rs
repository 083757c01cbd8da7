//! Limits in the memory of one process: bounded, sharded, expiry checked on
//! read.
//!
//! At the bound of subjects those are forgotten first whose counts end in the first second;
//! at that of charges of one subject, the oldest charge: then a repeat of it is
//! charged again, and a refund finds nothing.

mod shard;
mod store;
mod subject;

pub use store::{Bounds, Memory};
pub(crate) use subject::Back;
