//! What is kept of a key, who loads it and what voids it: plain decisions over a
//! state and the time, in whole microseconds.

mod ask;
mod entered;
mod entry;
mod invalid;
mod namespace;
mod read;
mod slot;
mod tags;

pub use ask::{Ask, Expects, Fill, Filled, Load, Put, Wanted};
pub use entered::Entered;
pub use entry::{Captured, Entry, Key, Mark, Value};
pub use invalid::{Invalid, Why};
pub use namespace::{Namespace, Namespaces};
pub use read::{Given, Outcome, Read};
pub use slot::{Found, Lease, Seen, Slot};
pub use tags::{MAX_TAGS, Tag, TagFault, WHOLE, carried};
