//! Presence in the memory of one process: bounded, sharded, expiry checked on
//! read.
//!
//! A session points at the incarnation of its node, so that the death of a
//! node voids all its sessions by one comparison at read. What time alone
//! changes is found by [`sweep`](super::Store::sweep): users are looked at when
//! a session of theirs is due, and when a lease lapses all users are walked
//! once, some at a time, while the grace still runs.

mod due;
mod nodes;
mod seen;
mod store;
mod user;

pub use store::Memory;
