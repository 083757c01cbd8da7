//! The gRPC service: parse, ask the store, reply.

mod rpc;

pub(crate) use rpc::Service;
