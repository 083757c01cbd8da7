//! What a limit counts and when it denies: plain arithmetic over a state and
//! the time, in whole microseconds.

mod ask;
mod counter;
mod fixed;
mod invalid;
mod limit;
mod pace;
mod rules;
mod window;
mod words;

pub use ask::{Answer, Ask, Charged, Place, Source, Verdict};
pub use fixed::Used;
pub use invalid::{Invalid, Why};
pub use limit::{Algorithm, Limit, Limits, MAX_QUOTA, Mark, NEVER, Outage, Standing, State};
pub use pace::Pace;
pub(crate) use rules::{Domain, Node, Wildcard, label, named_us, subject, unit_of, unit_us};
pub use rules::{Found, Rule, Rules};
pub use window::{EXACT, Log, PARTS, Slot};
