//! The protocol: every rule of its fields, and the way to the domain and back.

pub(crate) mod envoy;
mod explain;
mod reply;
mod request;

pub(crate) use explain::{explained, question};
pub(crate) use reply::{configured, lease, peeked, result};
pub(crate) use request::{acquire, asks, each, most, one, peek, refund, release, reset};
