//! Presence of many processes over one Redis.
//!
//! Redis compares and swaps, nothing else: what a call means is decided here,
//! by the same code as for the memory of one process, on what was read; one
//! script writes it if nobody wrote in between, and answers what is there
//! otherwise, so that the decision is made again.

mod codec;
mod contact;
mod counts;
mod hints;
mod keys;
mod nodes;
mod registry;
mod seen;
mod store;
mod sweep;
mod unsure;
mod users;
mod value;
mod walk;

pub use contact::Patience;
pub use store::RedisStore;
