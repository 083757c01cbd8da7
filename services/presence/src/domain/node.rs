//! A process that serves.

/// A process that serves, as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Unique per process; at most 64 characters of `[A-Za-z0-9._-]`.
    pub node_id: String,
    /// "gateway", "chat", …
    pub role: String,
    /// The build.
    pub version: String,
    /// Where its peers reach it.
    pub address: String,
    /// Grows with each start of the same node id.
    pub generation: u64,
}
