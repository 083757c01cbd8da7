//! Rate limits as their callers use them.
//!
//! [`Limiter`] asks the service within a short deadline. When the service or
//! what it counts in is away, the limit's [`Outage`] decides here, and the
//! [`Verdict`] says that it did. [`RateLimitLayer`] puts one limit before a
//! tower service: an axum router or a tonic server.

mod layer;
mod limiter;
mod local;
mod policy;

pub use layer::{RateLimit, RateLimitLayer, Refusal};
pub use limiter::{DEADLINE, Limiter, Verdict};
pub use policy::{Outage, Policy, Terms};
