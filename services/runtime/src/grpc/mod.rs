//! The gRPC stacks: what surrounds each call, on either side.
//!
//! Server, outermost first: [`trace`] → metrics → [`degraded`] → [`shed`] → [`deadline`] →
//! [`auth`] → service, with [`age`] around streams, and [`sight`] where a service
//! has others to tell of. Client: trace → deadline →
//! token, then the way to the role: the server stack of this process, or
//! [`remote`].

pub mod age;
pub mod auth;
mod config;
pub mod deadline;
pub mod degraded;
pub mod methods;
pub mod remote;
pub mod server;
pub mod shed;
pub mod sight;
mod standing;
pub mod trace;
mod transport;

use std::{convert::Infallible, future::Future, pin::Pin};

use tonic::body::Body;

pub use config::Config;
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

/// What a layer's call returns. Boxed: a call costs one small allocation a
/// layer, and each layer stays a plain async function.
pub(crate) type Call = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;
