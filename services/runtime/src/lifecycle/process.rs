//! The process: its roles are added one by one, then it runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic_health::server::HealthReporter;

use super::{Bound, Context, ProbesConfig, ProcessConfig, serve};
use crate::{
    Role,
    config::{Config, Mode, Problems},
    diagnostics::Diagnostics,
    figures,
    grpc::{self, Stack, Transport},
    health::Health,
    peers::{self, Peers},
    telemetry::{self, Export},
};

/// A process that is being put together.
pub struct Process {
    pub(super) grpc: grpc::Config,
    pub(super) probes: ProbesConfig,
    settings: ProcessConfig,
    mode: Mode,
    roles: BTreeMap<Role, Context>,
    peers: Peers,
    pub(super) health: Health,
    pub(super) reporter: HealthReporter,
    pub(super) diagnostics: Diagnostics,
    pub(super) stack: Stack,
    /// Cancelled last: the gRPC listener outlives the roles behind it.
    pub(super) closing: CancellationToken,
    pub(super) bounds: Vec<Bound>,
}

impl Process {
    /// Reads what every process needs and starts telemetry. `started_ms` is
    /// the time, `node_id` unique for this start.
    pub fn new(
        config: Config,
        roles: &[Role],
        node_id: &str,
        started_ms: i64,
    ) -> Result<Self, Problems> {
        let Sections { grpc, probes, settings, peers, export } =
            Sections::read(&config, roles, node_id)?;
        telemetry::start(config.mode(), &settings.log, export);
        figures::show();
        tell(&config, &grpc, &probes, node_id);
        let reporter = HealthReporter::new();
        let health = Health::new(reporter.clone());
        let node_id: Arc<str> = node_id.into();
        let diagnostics = Diagnostics::new(node_id.clone(), roles, started_ms, health.clone());
        let closing = CancellationToken::new();
        let peers = Peers::remote(&peers, &grpc, &health);
        let context = |role: &Role| Context {
            role: *role,
            config: config.clone(),
            peers: peers.clone(),
            health: health.clone(),
            diagnostics: diagnostics.clone(),
            node_id: node_id.clone(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let contexts = roles.iter().map(|role| (*role, context(role))).collect();
        Ok(Self {
            stack: Stack::new(&grpc, closing.clone()).marked(&health),
            reporter,
            mode: config.mode(),
            roles: contexts,
            bounds: Vec::new(),
            grpc,
            probes,
            settings,
            peers,
            health,
            diagnostics,
            closing,
        })
    }

    /// What [`Process::new`] would refuse, without starting anything. Must be
    /// called where tasks can be spawned.
    pub fn check(config: &Config, roles: &[Role]) -> Result<(), Problems> {
        Sections::read(config, roles, "check").map(drop)
    }

    /// What `role` binds itself with; `None` when it is not of this process.
    pub fn context(&self, role: Role) -> Option<Context> {
        self.roles.get(&role).cloned()
    }

    /// Development or production.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Describes the process.
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    /// What the process can serve.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Adds a bound role; those who call it are bound later.
    pub fn add(&mut self, bound: Bound) {
        if let (Some(routes), Some(context)) = (&bound.routes, self.roles.get(&bound.role)) {
            let stack = self.stack.with_drain(context.stop.clone());
            self.peers.set(bound.role, Transport::in_process(&stack, routes.clone()));
        }
        self.bounds.push(bound);
    }

    /// Listens, serves until a signal, drains, and returns. `announce` is
    /// told each listener's name and address, then the empty name when the
    /// process is ready.
    pub async fn run(
        mut self,
        mut announce: impl FnMut(&str, Option<std::net::SocketAddr>),
    ) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("signals")?;
        let servers = TaskTracker::new();
        tokio::spawn(telemetry::keep_up());
        let listening = serve::listen(&mut self, &servers).await?;
        for (name, address) in listening {
            announce(name, Some(address));
        }
        self.health.set_ready(true).await;
        announce("", None);
        wait(&mut interrupt, &mut terminate).await;
        tokio::select! {
            () = self.drain(&servers) => Ok(()),
            () = wait(&mut interrupt, &mut terminate) => anyhow::bail!("stopped by a second signal"),
        }
    }

    /// Ends the roles in their order, callers first, within the grace period.
    async fn drain(&self, servers: &TaskTracker) {
        let deadline = Instant::now() + Duration::from_millis(self.settings.grace_ms);
        tracing::info!(grace_ms = self.settings.grace_ms, "draining");
        self.health.set_ready(false).await;
        for (role, context) in &self.roles {
            context.stop.cancel();
            context.tasks.close();
            if tokio::time::timeout_at(deadline, context.tasks.wait()).await.is_err() {
                tracing::warn!(%role, left = context.tasks.len(), "grace period is over");
            }
        }
        self.closing.cancel();
        servers.close();
        if tokio::time::timeout_at(deadline, servers.wait()).await.is_err() {
            tracing::warn!(left = servers.len(), "listeners did not end in time");
        }
        telemetry::flush().await;
        tracing::info!("stopped");
    }
}

/// What every process reads.
struct Sections {
    grpc: grpc::Config,
    probes: ProbesConfig,
    settings: ProcessConfig,
    peers: peers::Config,
    export: Option<Export>,
}

impl Sections {
    fn read(config: &Config, roles: &[Role], node_id: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let grpc: Option<grpc::Config> = config.section(&mut problems);
        let probes: Option<ProbesConfig> = config.section(&mut problems);
        let settings: Option<ProcessConfig> = config.section(&mut problems);
        let peers: Option<peers::Config> = config.section(&mut problems);
        if let Some(grpc) = &grpc {
            require_trust(grpc, config.mode(), &mut problems);
        }
        if let Some(peers) = &peers {
            peers.require(roles, &mut problems);
        }
        let service = match roles {
            [role] => format!("mingle-{role}"),
            _ => "mingle".to_owned(),
        };
        let export = Export::of(config.environment(), (&service, node_id), &mut problems);
        problems.into_result()?;
        match (grpc, probes, settings, peers) {
            (Some(grpc), Some(probes), Some(settings), Some(peers)) => {
                Ok(Self { grpc, probes, settings, peers, export })
            }
            // Whoever has no section has said why.
            _ => Err(Problems::default()),
        }
    }
}

/// The first lines of the log.
fn tell(config: &Config, grpc: &grpc::Config, probes: &ProbesConfig, node_id: &str) {
    tracing::info!(
        build = crate::diagnostics::BUILD,
        node = node_id,
        grpc = %grpc.listen,
        probes = %probes.listen,
        internal_token = %grpc.internal_token,
        "starting"
    );
    for variable in config.environment().strangers() {
        tracing::warn!(variable, "unknown environment variable, misspelt?");
    }
}

async fn wait(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Beyond loopback, callers must be proved or the network be declared trusted.
fn require_trust(grpc: &grpc::Config, mode: Mode, problems: &mut Problems) {
    let safe = grpc.listen.ip().is_loopback()
        || !grpc.internal_token.is_empty()
        || grpc.trust_network.0
        || mode == Mode::Development;
    problems.require(
        safe,
        "grpc.listen",
        "is not loopback: set MINGLE_INTERNAL_TOKEN, or MINGLE_TRUST_NETWORK=1 behind a mesh",
    );
}
