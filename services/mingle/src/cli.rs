//! The command line.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use mingle_runtime::{
    Role,
    config::{Config, Environment, Problems, Section as _},
    grpc,
};

use crate::{
    backends::{self, Plan},
    check, compose, migrate, probe,
};

const CONFIGURATION: &str = "\
Configuration, each layer over the one before:
  the defaults (config.default.toml of each crate), --config FILE, and the
  environment: MINGLE_<SECTION>__<KEY>, or MINGLE_<SECTION>__<KEY>_FILE.
  Lists are written [\"a\", \"b\"].

  MINGLE_ENV=production         refuse to start without secrets
  MINGLE_JWT_SECRET             verifies users' tokens (HS256, 32 characters)
  MINGLE_SESSION_SECRET         signs resume tokens (32 characters)
  MINGLE_INTERNAL_TOKEN         what gRPC callers present (16 characters)
  MINGLE_GATEWAY__LISTEN        HTTP and WebSocket  [127.0.0.1:8080]
  MINGLE_GRPC__LISTEN           gRPC                [127.0.0.1:50051]
  MINGLE_PROBES__LISTEN         probes and metrics  [127.0.0.1:9464]
  MINGLE_DATA__DIR              where the data is   [mingle-data]

Several processes (mingle serve ROLE…) share their backends and secrets:
  REDIS_URL                     redis:// or rediss://, with user and password
  DATABASE_URL                  postgres://; DATABASE_DIRECT_URL past a pooler
  MINGLE_PEERS__CHAT            [\"http://host:50055\", …] or [\"dns:///chat:50055\"],
                                and so on for each role of another process";

/// Matchmaking, chat and presence for an application.
///
/// Without a command everything runs in this process on embedded backends.
#[derive(Parser)]
#[command(name = "mingle", version, after_help = CONFIGURATION)]
struct Cli {
    /// A TOML file over the embedded defaults; `MINGLE_<SECTION>__<KEY>` in the
    /// environment goes over both.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs these roles; all of them when none is named.
    Serve {
        /// gateway, matchmaking, chat, presence, ratelimit
        roles: Vec<Role>,
    },
    /// Brings the tables of the database at `DATABASE_URL` to the newest
    /// version and ends. Every start does so too.
    Migrate,
    /// Says whether these roles would start: judges the configuration and asks
    /// the servers at `REDIS_URL` and `DATABASE_URL`, step by step. Exits 1 when
    /// they would not. It changes nothing there but `mingle:{fence}` of Redis,
    /// which it writes as every start does.
    Check {
        /// As of serve; all of them when none is named.
        roles: Vec<Role>,
        /// One JSON object per step.
        #[arg(long)]
        json: bool,
    },
    /// Asks the process of these roles on this machine whether it is ready, at
    /// MINGLE_PROBES__LISTEN: the health check of a container. Exits 1 when it is
    /// not, or does not answer within two seconds.
    Probe {
        /// As of serve; all of them when none is named.
        roles: Vec<Role>,
    },
}

/// Runs the command and returns its exit code: 0 after an orderly end, 2 when
/// the configuration is wrong, 1 for everything else.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(code) => code,
        Err(error) => {
            crate::tell::failure(&error);
            ExitCode::from(if error.is::<Problems>() { 2 } else { 1 })
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let roles = match cli.command {
        Some(Command::Migrate) => {
            let config = load(cli.config.as_deref(), &[])?;
            return runtime.block_on(migrate::run(&config)).map(|()| ExitCode::SUCCESS);
        }
        Some(Command::Check { roles, json }) => {
            let roles = set(roles);
            let config = load(cli.config.as_deref(), &roles)?;
            return runtime.block_on(check::run(&config, &roles, json));
        }
        Some(Command::Probe { roles }) => {
            let config = load(cli.config.as_deref(), &set(roles))?;
            return runtime.block_on(probe::run(&config));
        }
        Some(Command::Serve { roles }) => set(roles),
        None => set(Vec::new()),
    };
    let config = load(cli.config.as_deref(), &roles)?;
    let plan = Plan::of(&config, &roles)?;
    runtime.block_on(compose::run(config, &roles, plan)).map(|()| ExitCode::SUCCESS)
}

/// Each role once; all of them when none is named.
fn set(mut roles: Vec<Role>) -> Vec<Role> {
    if roles.is_empty() {
        return Role::ALL.to_vec();
    }
    roles.sort_unstable();
    roles.dedup();
    roles
}

/// The defaults of every crate, those of a role that is alone in its process,
/// and what goes over them.
fn load(file: Option<&Path>, roles: &[Role]) -> Result<Config, Problems> {
    let ports = match roles {
        [alone] => format!(
            "[grpc]\nlisten = \"127.0.0.1:{}\"\n[probes]\nlisten = \"127.0.0.1:{}\"\n",
            alone.port(),
            alone.port() + 1000
        ),
        _ => String::new(),
    };
    let defaults = [
        grpc::Config::DEFAULTS,
        backends::DEFAULTS,
        mingle_ratelimit::Config::DEFAULTS,
        mingle_presence::Config::DEFAULTS,
        mingle_chat::Config::DEFAULTS,
        mingle_matchmaking::Config::DEFAULTS,
        mingle_gateway::Config::DEFAULTS,
        &ports,
    ];
    Config::load(&defaults, file, Environment::of_process())
}
