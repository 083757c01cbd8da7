//! The WebSocket protocol of the gateway, from the client's side.
//!
//! - [`Socket`]: one connection; frames in, frames out, and raw messages for
//!   whoever tests what must not be sent.
//! - [`Client`]: requests and their replies on top of it, events queued
//!   meanwhile, as plain futures: nothing is spawned, so that one process can
//!   hold very many.
//! - [`Backoff`]: how long to wait before the next try.

pub mod close;

#[cfg(feature = "ws")]
mod backoff;
#[cfg(feature = "ws")]
mod calls;
#[cfg(feature = "ws")]
mod client;
#[cfg(feature = "ws")]
mod encoding;
#[cfg(feature = "ws")]
mod error;
#[cfg(feature = "ws")]
mod reply;
#[cfg(feature = "ws")]
mod socket;

#[cfg(feature = "ws")]
pub use self::{
    backoff::Backoff,
    client::{Client, Limits},
    encoding::Encoding,
    error::{Error, Result},
    reply::Reply,
    socket::{Dial, Incoming, Socket},
};
#[cfg(feature = "ws")]
pub use mingle_proto::gateway::v1 as proto;
#[cfg(feature = "ws")]
pub use tokio_tungstenite::tungstenite::Message;
