//! Who may meet whom, and in which order: pure values and arithmetic on
//! `(state, now)`. No clock, no storage, no protocol.

pub mod pool;
pub mod queue;
pub mod stats;
pub mod ticket;

pub use pool::{Attribute, Bucket, Pool, Rules};
pub use queue::{Entry, Position, Proposal, Queue};
pub use stats::{Snapshot, Window};
pub use ticket::{Content, Liveness, Match, State, Ticket};
