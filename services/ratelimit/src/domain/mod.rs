//! What a limit counts and when it denies: plain arithmetic over a state and
//! the time, in whole microseconds.

mod ask;
mod counter;
mod fixed;
mod invalid;
mod limit;
mod pace;
mod span;
mod window;

pub use ask::{Answer, Ask, Verdict};
pub use fixed::Used;
pub use invalid::{Invalid, Why};
pub use limit::{Algorithm, Limit, Limits, Mark, NEVER, Outage, Standing, State};
pub use pace::Pace;
pub use span::{BadSpan, parse_span};
pub use window::{EXACT, Log, PARTS, Slot};
