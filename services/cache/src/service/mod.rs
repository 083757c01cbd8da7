//! What callers ask, over what is kept.

mod core;
mod counts;
mod fetch;
mod flights;
mod known;
mod local;
mod news;
mod pulse;
mod reads;
mod rpc;
mod shards;
mod terms;
mod watch;
mod writes;

pub(crate) use core::Core;
pub(crate) use rpc::Service;
