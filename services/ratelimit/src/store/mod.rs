//! Where limits are counted: one method is one atomic intent.

mod alone;
mod company;
mod denials;
mod failover;
pub mod memory;
mod name;
mod owed;
pub mod redis;
mod slices;

pub use failover::{Failover, Instance};
pub(crate) use name::known_as;
pub(crate) use slices::describe;

use std::sync::Arc;

use async_trait::async_trait;
use mingle_store::Result;

use crate::domain::{Answer, Ask, Charged, Limit, Limits, Place, Source};

/// Counts what subjects use of their limits.
///
/// **Time**: the store's own (its clock; a server's for remote backends).
///
/// **Guarantees**: what the algorithm of each limit promises, over all charges
/// that were not given back. A denied ask changes nothing. The same ask again
/// is charged once, for as long as the charge is remembered.
///
/// **Errors**: transient ones of the backend, after which the outcome is
/// unknown: ask again with the same id, or give it back. [`Failover`] has none
/// but where it is said.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Charges each ask, all of its limits or none, with an answer for each in
    /// their order. Asks are independent of each other: some may fail. One of cost 0
    /// is only looked at.
    async fn check(&self, asks: &[Ask]) -> Vec<Result<Answer>>;

    /// What [`check`](Self::check) would answer now, without charging.
    async fn peek(&self, ask: &Ask) -> Result<Answer>;

    /// Gives a charge back to those of the limits that still count something of it;
    /// false when none does, or the charge is not known, or not any more, or
    /// `unless_repeated` and an ask found it made already.
    async fn refund(&self, charge: Charged<'_>, limits: &Arc<Limits>) -> Result<bool>;

    /// Where the count of a limit is kept, for people.
    fn place(&self, subject: &str, limit: &Limit) -> Place;

    /// What would decide about an ask that nobody made before, now. Nothing changes.
    fn decider(&self, _: &Ask) -> Source {
        Source::Count
    }

    /// Makes a subject as if it had used nothing of these limits. Charges of before are
    /// remembered, and nothing of them is given back any more.
    ///
    /// **Errors**: also of [`Failover`], while nobody can count together.
    async fn reset(&self, subject: &str, limits: &[Arc<Limit>]) -> Result<()>;
}
