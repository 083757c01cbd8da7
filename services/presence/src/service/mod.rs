//! The gRPC service: parse, ask the store, announce, reply.

mod follow;
mod presence;
mod topics;
mod watch;

pub(crate) use presence::Service;
