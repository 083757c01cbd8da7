//! What presence means, without a store, a network or a clock.

mod claim;
mod held;
mod invalid;
mod lease;
mod node;
mod partition;
mod presence;
mod session;
mod status;
mod user;

pub use claim::{Verdict, claim};
pub(crate) use held::{Held, Holder};
pub use invalid::{Invalid, Why};
pub use lease::{Lease, Terms};
pub use node::Node;
pub(crate) use partition::bucket;
pub use partition::{PARTITIONS, partition};
pub use presence::{Presence, Shown, shown};
pub use session::{Claim, Ended, Life, Lost, Phase};
pub use status::Status;
pub(crate) use user::{Change, Claimed, Room, Settled, User};
