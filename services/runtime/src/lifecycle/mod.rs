//! From configuration to exit code: what every process does in the same
//! order, whatever its roles.
//!
//! Each role's crate has `bind(ctx, …) -> Bound` with five steps (config,
//! store, service, probes and background tasks, server). [`Process`] owns the
//! rest: listeners, ready lines, signals, NOT_SERVING, drain, exit.

mod address;
mod process;
mod serve;
mod settings;

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Role,
    config::{Config, Section},
    diagnostics::Diagnostics,
    grpc::{self, Routes},
    health::Health,
    peers::{self, Peers},
};

pub use address::{claim, remedy, setting};
pub use process::Process;
pub use settings::{DataConfig, ProbesConfig, ProcessConfig};

/// What a role gets to bind itself with.
#[derive(Clone)]
pub struct Context {
    /// Which role binds.
    pub role: Role,
    /// The merged configuration; a role reads its own section.
    pub config: Config,
    /// The ways to the roles it calls.
    pub peers: Peers,
    /// Tells what of it serves.
    pub health: Health,
    /// Describes the process.
    pub diagnostics: Diagnostics,
    /// Unique per process start.
    pub node_id: Arc<str>,
    /// Cancelled when the role must end its streams and background tasks.
    pub stop: CancellationToken,
    /// The role's tasks; the process waits for them when it drains.
    pub tasks: TaskTracker,
}

impl Context {
    /// A context outside any process, for a crate's own tests: `defaults` of
    /// the sections it reads, with `overrides` on top.
    ///
    /// # Panics
    /// When the texts are no configuration.
    #[doc(hidden)]
    #[expect(clippy::expect_used, reason = "for tests, where a wrong text is a wrong test")]
    pub fn for_test(defaults: &[&str], overrides: &str) -> Self {
        let texts = [&[grpc::Config::DEFAULTS], defaults, &[overrides]].concat();
        let config = Config::load(&texts, None, Default::default()).expect("configuration");
        let peers: peers::Config = config.read().expect("peers");
        let grpc: grpc::Config = config.read().expect("grpc");
        let health = Health::new(tonic_health::server::HealthReporter::new());
        let node_id: Arc<str> = "test".into();
        let diagnostics = Diagnostics::new(node_id.clone(), &[], 0, health.clone());
        Self {
            role: Role::Chat,
            config,
            peers: Peers::remote(&peers, &grpc, &health),
            health,
            diagnostics,
            node_id,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }
}

/// What a role serves.
pub struct Bound {
    pub(crate) role: Role,
    pub(crate) routes: Option<Routes>,
    pub(crate) front: Option<Front>,
}

impl Bound {
    /// A role behind gRPC.
    pub fn grpc(role: Role, routes: Routes) -> Self {
        Self { role, routes: Some(routes), front: None }
    }

    /// A role with a listener of its own.
    pub fn front(role: Role, front: Front) -> Self {
        Self { role, routes: None, front: Some(front) }
    }

    /// The gRPC services, for tests that serve them without a process.
    pub fn into_routes(self) -> Option<Routes> {
        self.routes
    }
}

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A listener that is not gRPC: the gateway's.
pub struct Front {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Connections that may wait until they are accepted.
    pub backlog: u32,
    /// Serves until the role's `stop`, then returns.
    pub serve: Box<dyn FnOnce(TcpListener) -> Serving + Send>,
}
