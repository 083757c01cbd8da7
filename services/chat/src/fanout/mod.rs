//! From a commit to whoever follows the room.
//!
//! Commit → `Board::announce`: the room's follower in this process gets
//! the events at once, and the bus carries a copy to the other processes. A
//! follower passes on only the next seq: it drops what it has, holds what came
//! too early for a moment, then reads the missing range from the store. Bus
//! gaps and the time, every few seconds, have heads compared, and who is behind
//! is read likewise: a lost announcement is late, never missing.
//!
//! Per process and room there is one follower with one bus subscription,
//! however many streams follow the room.

mod board;
mod envelope;
mod follower;
mod heads;
mod hub;
mod outbox;
mod sequencer;
mod session;

pub use board::Board;
pub use hub::{Hub, Settings};
pub use outbox::{Bounds, Outgoing};
pub use session::Session;
