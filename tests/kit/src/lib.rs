//! What Mingle's tests share: waiting for a condition with a deadline, running
//! the `mingle` command as a child process, and the servers that it needs.
//!
//! Everything here fails the test that calls it, by panicking with a message
//! that says what was expected and what was seen; nothing returns an error to
//! ignore.

mod adopted;
mod balancer;
mod binary;
mod certificates;
mod clock;
mod cluster;
mod deployment;
mod disk;
mod envoy;
mod eventually;
mod installed;
mod log;
mod mingle;
mod otlp;
mod postgres;
mod proxy;
#[cfg(feature = "ratelimit")]
mod ratelimit;
mod redis;
mod secret;
mod sentinels;
mod server;
mod upstash;
mod ways;

pub use balancer::{Balancer, Kind};
pub use binary::binary;
pub use certificates::Certificates;
pub use cluster::Cluster;
pub use deployment::{Deployment, Plan};
pub use disk::Disk;
pub use envoy::Envoy;
pub use eventually::{Outcome, eventually};
pub use installed::{installed, server_program};
pub use mingle::{Builder, Finished, Mingle};
pub use otlp::{Collector, Span};
pub use postgres::{Part, Pooler, Postgres, TestDatabase};
pub use proxy::{Fault, Proxy, Traffic};
#[cfg(feature = "ratelimit")]
pub use ratelimit::Ratelimit;
pub use redis::{Redis, Snapshot};
pub use sentinels::Sentinels;
pub use server::{Server, free_port};
pub use upstash::Upstash;
pub use ways::To;
