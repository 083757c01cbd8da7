//! The gRPC service: parse, ask the store, reply.

mod decisions;
mod envoy;
mod rpc;
mod top;

pub(crate) use envoy::Envoy;
pub(crate) use rpc::Service;
