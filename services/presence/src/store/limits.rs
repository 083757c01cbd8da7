//! The bounds of a store.

/// The bounds of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes, alive or in grace.
    pub max_nodes: usize,
    /// Sessions, live or in grace.
    pub max_sessions: usize,
    /// Users who are offline and whose last proof of life is remembered.
    pub max_last_seen: usize,
    /// Users looked at by one sweep.
    pub sweep_users: usize,
}
