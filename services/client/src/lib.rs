//! What adopters of Mingle use from Rust.
//!
//! - [`close`]: why the gateway closes a WebSocket, and what to do then.
//! - [`ws`] (feature `ws`, on by default): the WebSocket client, low level and
//!   with requests and replies.

#![cfg_attr(feature = "ws", doc = include_str!("../README.md"))]

pub mod ws;

pub use ws::close;
