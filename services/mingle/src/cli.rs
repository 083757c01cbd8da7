//! The command line.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use mingle_runtime::{
    Role,
    config::{Config, Environment, Problems, Section as _, sources},
    grpc,
};

use crate::compose;

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
  MINGLE_DATA__DIR              where the data is   [mingle-data]";

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
        /// gateway, matchmaking, chat, presence
        roles: Vec<Role>,
    },
}

/// Runs the command and returns its exit code: 0 after an orderly end, 2 when
/// the configuration is wrong, 1 for everything else.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    match serve(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::tell::failure(&error);
            ExitCode::from(if error.is::<Problems>() { 2 } else { 1 })
        }
    }
}

fn serve(cli: Cli) -> anyhow::Result<()> {
    let mut roles = match cli.command {
        Some(Command::Serve { roles }) if !roles.is_empty() => roles,
        _ => Role::ALL.to_vec(),
    };
    roles.sort_unstable();
    roles.dedup();
    let defaults = [
        grpc::Config::DEFAULTS,
        mingle_presence::Config::DEFAULTS,
        mingle_chat::Config::DEFAULTS,
        mingle_matchmaking::Config::DEFAULTS,
        mingle_gateway::Config::DEFAULTS,
    ];
    let config = Config::load(&defaults, cli.config.as_deref(), Environment::of_process())?;
    require_backends(&config, &roles)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(compose::run(config, &roles))
}

/// Roles in several processes need backends that they share: each on its own
/// embedded ones would be a split brain that nobody notices.
fn require_backends(config: &Config, roles: &[Role]) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let environment = config.environment();
    let redis = sources::redis(environment, config.mode(), &mut problems).is_some();
    let database = sources::database(environment, &mut problems).is_some();
    let is_whole = roles.len() == Role::ALL.len();
    for (variable, is_set) in [("REDIS_URL", redis), ("DATABASE_URL", database)] {
        if is_whole && is_set {
            problems.add(variable, "is set, but this version serves on embedded backends only");
        } else if is_set {
            problems
                .add(variable, "is set, but this version cannot share backends yet: run `mingle`");
        } else if !is_whole {
            problems.add(variable, "is missing: a process with some of the roles needs backends that it shares with the others");
        }
    }
    problems.into_result()
}
