//! What presence means, without a store, a network or a clock.

mod claim;
mod invalid;
mod lease;
mod node;
mod presence;
mod session;
mod status;

pub use claim::{Verdict, claim};
pub use invalid::{Invalid, Why};
pub use lease::{Lease, Terms};
pub use node::Node;
pub use presence::{Presence, Shown, shown};
pub use session::{Claim, Life, Lost, Phase};
pub use status::Status;
