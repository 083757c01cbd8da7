//! Rate limits as their callers use them.
//!
//! [`Limiter`] asks the service within a short deadline. When the service or
//! what it counts in is away, the limit's [`Outage`] decides here, and the
//! [`Verdict`] says that it did. [`RateLimitLayer`] puts one limit before a
//! tower service: an axum router or a tonic server. [`Charges`] are for work
//! that may come to nothing: they find their way back.

mod charges;
mod gather;
mod layer;
mod limiter;
mod local;
mod policy;
mod problem;

pub use charges::{Charge, Charges, Denied, Work};
pub use layer::{RateLimit, RateLimitLayer, Refusal};
pub use limiter::{DEADLINE, Limiter, Source, Verdict};
pub use policy::{Outage, Policy, Terms};
pub use problem::problem;
