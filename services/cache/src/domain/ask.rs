//! What is asked of a store.

use super::{Captured, Key, Value};

/// Reads a key.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which.
    pub key: Key,
    /// The lease, if one is wanted.
    pub wanted: Option<Wanted>,
    /// A version that counts as none: it is void by its tags.
    pub void: Option<u64>,
    /// Of the early refresh, see [`Entry::is_due`](super::Entry::is_due); 0: none.
    pub luck: f64,
}

/// A lease that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it will be known by.
    pub token: u128,
    /// The versions of the tags that the value will carry.
    pub captured: Captured,
}

/// Stores a value.
#[derive(Clone, Debug)]
pub struct Put {
    /// Where.
    pub key: Key,
    /// What.
    pub value: Value,
    /// The versions that it is stored under.
    pub captured: Captured,
    /// What it will be named.
    pub version: u64,
    /// For how long it is fresh.
    pub soft_us: u64,
    /// For how long it is served.
    pub hard_us: u64,
    /// In whose place.
    pub expects: Expects,
}

/// In whose place a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    /// Whatever there is.
    Any,
    /// Nothing, or what is void.
    Nothing {
        /// That which is void.
        void: Option<u64>,
    },
    /// That of this version.
    Version(u64),
}

/// Ends a lease.
#[derive(Clone, Debug)]
pub struct Fill {
    /// Of which key.
    pub key: Key,
    /// The lease.
    pub token: u128,
    /// What the value will be named: made from the lease.
    pub version: u64,
    /// What became of the load.
    pub load: Load,
}

/// What became of a load.
#[derive(Clone, Debug)]
pub enum Load {
    /// It is stored, if the lease captured these versions.
    Value {
        /// What was loaded.
        value: Value,
        /// The versions of its tags as they are known now.
        captured: Captured,
        /// For how long it is fresh.
        soft_us: u64,
        /// For how long it is served.
        hard_us: u64,
    },
    /// There is no such thing, and that is not kept.
    Absent,
    /// The source did not answer.
    Failed {
        /// For how long what is there is served on as if fresh.
        throttle_us: u64,
    },
}

/// What a fill did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filled {
    /// The value is there.
    Stored,
    /// The lease is void, or did not capture what it should.
    #[default]
    Rejected,
    /// What was there is served on.
    Rearmed,
    /// Nothing is there, and nobody loads.
    Ended,
}
