//! The rows in a database: tables in `migrations`, statements in `sql`, each
//! in the words of PostgreSQL and of SQLite. Every change goes through one
//! lane of group commit; reads use their own connections.

mod index;
mod ledger;
mod records;
mod rows;
mod tickets;
mod write;

pub use index::SqlIndex;
pub use tickets::{SqlTickets, migrate, pending};
