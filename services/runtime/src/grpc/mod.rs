//! The gRPC stacks: what surrounds each call, on either side.
//!
//! `server`, outermost first: `trace` → [`degraded`] → `calls` → `shed` → `auth` →
//! `deadline`, or `age` around streams → `routes` → service, and [`sight`] where a service
//! has others to tell of. Client: trace → deadline → token, then the way to the role: the
//! server stack of this process, or [`remote`].

mod age;
mod auth;
pub(crate) mod calls;
mod config;
mod deadline;
pub mod degraded;
mod methods;
pub mod remote;
mod routes;
mod server;
mod shed;
pub mod sight;
mod standing;
pub(crate) mod trace;
mod transport;

use std::{convert::Infallible, future::Future, pin::Pin};

use tonic::body::Body;

pub use config::Config;
pub use routes::Routes;
pub use server::Stack;
pub use transport::Transport;

/// Unread on one connection. h2 closes a connection on which small frames wait
/// that cost more than half of this (hyperium/h2#939): with eight streams' worth
/// the window of a stream stops its sender first, however small the messages.
pub(crate) const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// A gRPC request as the layers see it.
pub type Request = http::Request<Body>;
/// A gRPC response as the layers see it.
pub type Response = http::Response<Body>;

/// What a call returns. Boxed: what surrounds it stays a plain async function.
pub type Call = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;
