//! Between messages and values: all validation, and the names of the fields
//! at fault.

mod join;
mod refusal;
mod ticket;

pub use join::{Join, join};
pub use refusal::Refusal;
pub use ticket::{TicketQuery, owned, pool, settled, short_ids, wait};
