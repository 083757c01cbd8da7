//! What every process of Mingle shares, and nothing of any one service.
//!
//! - [`config`]: defaults → file → environment, every problem at once.
//! - [`status`]: the one table from kinds of failure to gRPC and HTTP.
//! - [`grpc`]: the server stack, the client stack, the transport between
//!   roles, whether in this process or another.
//! - [`telemetry`]: logs, trace context, metrics.
//! - [`health`], [`states`], [`diagnostics`], [`figures`], [`probes`]: how a process tells how
//!   it fares.
//! - [`fresh`]: what many ask for and few are to make.
//! - [`lifecycle`]: from configuration to exit code.

pub mod config;
pub mod diagnostics;
pub mod figures;
pub mod fresh;
pub mod grpc;
pub mod health;
pub mod lifecycle;
pub mod peers;
pub mod probes;
pub mod role;
mod spent;
pub mod states;
pub mod status;
pub mod telemetry;

pub use lifecycle::{Bound, Context, Front};
pub use role::Role;
