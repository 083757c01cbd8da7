//! The protocol: every rule of its fields, and the way to the domain and back.

mod reply;
mod request;

pub(crate) use reply::{configured, peeked, result};
pub(crate) use request::{asks, each, one, peek, refund, reset};
