//! What adopters of Mingle use from Rust.
//!
//! - [`close`]: why the gateway closes a WebSocket, and what to do then.
//! - [`ws`] (feature `ws`, on by default): the WebSocket client, low level and
//!   with requests and replies.
//! - `ratelimit` (feature `ratelimit`): charges limits, and decides by their
//!   outage policies when nobody can count.
//! - `cache` (feature `cache`): values that are loaded once in the whole cluster.

#![cfg_attr(feature = "ws", doc = include_str!("../README.md"))]

#[cfg(feature = "cache")]
pub mod cache;
#[cfg(feature = "ratelimit")]
pub mod ratelimit;
pub mod ws;

pub use ws::close;
