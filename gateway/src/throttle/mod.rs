//! How often one may ask: classes of requests, by user or by address.
//!
//! A class is a limit of ratelimit. A request of a class is charged before its
//! route sees it, and its answer tells what is left in `RateLimit` and
//! `RateLimit-Policy`, and `Retry-After` when it is denied. A token that is good
//! is never held back by others that were not: a class is chosen after the token
//! is read.

mod address;
mod asker;
mod classes;
mod guard;

pub(crate) use address::Address;
pub(crate) use asker::Asker;
pub use classes::Classes;
pub(crate) use guard::{Throttle, guard};
