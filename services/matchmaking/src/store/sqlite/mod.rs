//! The rows in SQLite. One writer: every change goes through one lane of
//! group commit; reads use their own connections.

mod rows;
mod tickets;
mod write;

pub use tickets::SqliteTickets;
