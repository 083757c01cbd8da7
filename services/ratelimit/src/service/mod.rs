//! The gRPC service: parse, ask the store, reply.

mod envoy;
mod rpc;

pub(crate) use envoy::Envoy;
pub(crate) use rpc::Service;
