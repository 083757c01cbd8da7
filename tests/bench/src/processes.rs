//! Mingle as many processes on a Redis and a PostgreSQL of the machine: those
//! of the tests' kit, with the server under test in place of the one it builds.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use mingle_testkit::{Deployment, Postgres, Redis};

use crate::{
    meters::{Meter, Meters},
    plan::Plan,
    report::Report,
    settings,
    system::{self, LIMITS},
    token,
};

/// With its servers, which outlive [`Processes::kill`].
pub(crate) struct Processes {
    deployment: Deployment,
}

impl Processes {
    /// Starts servers and processes with `variables` over the defaults.
    /// A start that fails ends this program with the logs.
    pub(crate) async fn start(plan: &Plan, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        // The kit's folders are made there; a second time is the same folder.
        let _ = tempfile::env::override_temp_dir(plan.dir());
        let mut kit = Deployment::plan()
            .own_postgres()
            .program(&plan.binary)
            .env("MINGLE_JWT_SECRET", token::SECRET)
            .env("MINGLE_SESSION_SECRET", token::SECRET);
        for (key, value) in LIMITS.iter().chain(variables) {
            kit = kit.env(key, *value);
        }
        Ok(Self { deployment: kit.start().await })
    }

    /// The WebSocket of each gateway.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.deployment.gateways().iter().map(|at| format!("ws://{at}/ws")).collect()
    }

    /// Where each process of `role` serves gRPC.
    pub(crate) fn grpc(&self, role: &str) -> Vec<SocketAddr> {
        self.deployment.grpc(role)
    }

    /// One meter for each role and each server.
    pub(crate) fn meters(&self) -> anyhow::Result<Meters> {
        let mut meters: Vec<Meter> = Vec::new();
        for (name, process) in self.deployment.running() {
            match meters.iter_mut().find(|meter| meter.name == name) {
                Some(meter) => meter.pids.push(process.pid()),
                None => meters.push(Meter { name, counted: true, pids: vec![process.pid()] }),
            }
        }
        ensure!(!meters.is_empty(), "no process runs");
        meters.extend([self.redis_meter(), self.postgres_meter()?]);
        Ok(Meters(meters))
    }

    /// The server of the index and of announcements.
    pub(crate) fn redis(&self) -> &Redis {
        self.deployment.redis()
    }

    /// Its CPU time.
    pub(crate) fn redis_meter(&self) -> Meter {
        let pids = vec![self.redis().server().pid()];
        Meter { name: "redis-server", counted: false, pids }
    }

    /// The address of the database.
    pub(crate) fn database(&self) -> &str {
        &self.deployment.database().url
    }

    /// CPU time of the database's server.
    pub(crate) fn postgres_meter(&self) -> anyhow::Result<Meter> {
        let pids = vec![self.postgres()?.server().pid()];
        Ok(Meter { name: "postgres", counted: false, pids })
    }

    /// Writes how it was measured.
    pub(crate) async fn describe(&self, report: &mut Report, plan: &Plan) -> anyhow::Result<()> {
        settings::machine(report);
        let build = system::build(*self.grpc("chat").first().context("no chat")?).await?;
        report.set("server", format!("{build} ({})", plan.binary.display()));
        let mut roles: Vec<_> = self.deployment.running().map(|(role, _)| role).collect();
        roles.sort_unstable();
        report.set("processes", roles.join(", "));
        let postgres = self.postgres()?;
        let setting = |name: &str| postgres.sql("postgres", &format!("show {name}"));
        let (version, fsync) = (setting("server_version"), setting("fsync"));
        let commit = setting("synchronous_commit");
        let kind = settings::file_system(plan);
        let text = format!("PostgreSQL {version}, fsync {fsync}, synchronous_commit {commit}");
        report.set("database", format!("{text}, on {kind}"));
        let info = self.redis().cli(&["INFO", "server"]);
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        let version = version.unwrap_or("unknown").trim();
        report.set("index", format!("Redis {version}, append-only file, no fsync"));
        settings::telemetry(report);
        Ok(())
    }

    /// Ends the processes of Mingle; the servers stay, for the floor.
    pub(crate) fn kill(&mut self) {
        self.deployment.kill9_all();
    }

    fn postgres(&self) -> anyhow::Result<&Postgres> {
        self.deployment.postgres().context("no postgres of its own")
    }
}
