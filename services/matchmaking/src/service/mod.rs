//! Parse, store, reply; and what goes on between the calls.
//!
//! - [`rpc`]: the service as callers see it.
//! - [`matcher`]: from a ticket to a match.
//! - [`rooms`]: from a match to a room and to those who wait for it.
//! - [`feed`] and the watch on top of it: telling whoever follows a ticket.
//! - [`RowClock`]: one time for all who share the rows.
//! - [`sweep`]: what time alone brings about.

mod charge;
mod clock;
pub mod feed;
pub mod matcher;
mod outages;
mod past;
mod proofs;
pub mod rooms;
pub mod rpc;
mod steps;
pub mod sweep;
mod watch;

pub use charge::{Charges, LIMIT, charges};
pub use clock::RowClock;
pub use feed::Feed;
pub use matcher::Matcher;
pub use rooms::Rooms;
pub use rpc::Service;
pub use sweep::Sweep;
