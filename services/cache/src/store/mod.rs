//! Where values, leases and versions of tags are kept: one method is one atomic
//! intent for each of its keys.

mod keeper;
pub mod memory;
mod pending;
pub mod redis;

pub use keeper::Keeper;
pub use pending::Changes;

use async_trait::async_trait;
use mingle_store::Result;

use crate::domain::{Ask, Fill, Filled, Found, Key, Mark, Put};

/// What tells of bytes that values became.
pub(crate) const KEPT: &str = "mingle_cache_kept_bytes_total";

/// Keeps what is cached.
///
/// **Time**: the store's own (its clock; a server's for remote backends).
///
/// **Guarantees**: a value is found until its hard end, or not at all: anything may be
/// forgotten at any time. At most one lease of a key is valid at a time. Nothing is
/// found that was stored before the backend lost data and might have voided it since.
/// Whether a value is void by its tags is for the caller to judge, by
/// [`versions`](Self::versions).
///
/// **Errors**: transient ones of the backend, after which the outcome is unknown. All
/// methods may be called again: what was stored, given or ended is found by its
/// version and token.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads each key, and gives leases to who wants them.
    async fn look(&self, asks: &[Ask]) -> Vec<Result<Found>>;

    /// Stores each value, voiding the lease; false of one that was not expected.
    async fn put(&self, puts: &[Put]) -> Vec<Result<bool>>;

    /// Ends a lease with what was loaded.
    async fn fill(&self, fill: &Fill) -> Result<Filled>;

    /// Moves the ends of the value of this version on; false when it is not there.
    async fn touch(&self, key: &Key, version: u64, soft_us: u64, hard_us: u64) -> Result<bool>;

    /// Removes values and leases.
    async fn delete(&self, keys: &[Key]) -> Result<()>;

    /// The versions of these, in their order. One that nobody has asked for in a
    /// while has a new one: what was stored under the old one is void.
    async fn versions(&self, marks: &[Mark]) -> Result<Vec<u64>>;

    /// Gives each a new version, which nothing is stored under.
    async fn renew(&self, marks: &[Mark]) -> Result<()>;
}
