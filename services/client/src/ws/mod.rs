//! The WebSocket protocol of the gateway, from the client's side.

pub mod close;
