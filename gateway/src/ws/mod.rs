//! The WebSocket protocol: frames in, replies and events out.
//!
//! One task per socket. It works on one request at a time, so a client's
//! sends are committed in the order it sent them; meanwhile it writes what
//! comes in for the socket, except events of the room that the request is
//! about, because a reply precedes the events it causes.

pub(crate) mod codec;
mod connection;
mod handle;
mod replay;
pub(crate) mod session;
pub(crate) mod upgrade;

pub(crate) use handle::{matching::wants, presence::check_visible};
pub(crate) use replay::degraded;
