//! The command line.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use mingle_runtime::{Role, config::Problems};

use crate::{check, compose, judge, limits, load, migrate, probe, show, token};

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

/// Matchmaking, chat, presence, rate limits and a cache for an application.
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
        /// gateway, matchmaking, chat, presence, ratelimit, cache
        roles: Vec<Role>,
    },
    /// Brings the tables of the database at `DATABASE_URL` to the newest
    /// version and ends. Every start does so too.
    Migrate,
    /// Says whether these roles would start: judges the configuration, looks at
    /// where they would listen and keep data, and asks the roles that they call,
    /// Redis and PostgreSQL, step by step. Exits 1 when they would not. It changes
    /// nothing anywhere but `mingle:{fence}` of Redis, which it writes as every
    /// start does.
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
    /// Prints the configuration of these roles as TOML that --config takes, each
    /// value that is not the default with where it is from. Secrets and passwords
    /// are not shown. Exits 2 when the configuration is wrong.
    Config {
        /// As of serve; all of them when none is named.
        roles: Vec<Role>,
    },
    /// What there is about limits.
    #[command(subcommand)]
    Ratelimit(Ratelimit),
    /// Prints a user's token, signed with the configured secret, or with the one
    /// that development keeps in its data folder.
    Token(token::Asked),
}

#[derive(Subcommand)]
enum Ratelimit {
    /// Judges limits before they are deployed: a TOML file as --config takes it, or the
    /// YAML of descriptors, a file or a folder. Prints each fault as
    /// file:line:column: what, and exits 1 when there is one.
    CheckConfig {
        /// TOML by its ending, else YAML.
        file: PathBuf,
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
    let spawns = runtime.enter();
    let file = cli.config.as_deref();
    let command = cli.command.unwrap_or(Command::Serve { roles: Vec::new() });
    match command {
        Command::Serve { roles } => {
            let roles = load::roles(roles);
            let config = load::config(file, &roles)?;
            let plan = judge::judge(&config, &roles).into_plan()?;
            runtime.block_on(compose::run(config, &roles, plan))?;
        }
        Command::Migrate => runtime.block_on(migrate::run(&load::config(file, &[])?))?,
        Command::Check { roles, json } => {
            let roles = load::roles(roles);
            let config = load::config(file, &roles);
            let code = runtime.block_on(check::run(config, &roles, json));
            drop(spawns);
            // A disk that does not answer is not waited for.
            runtime.shutdown_background();
            return Ok(code);
        }
        Command::Probe { roles } => {
            let config = load::config(file, &load::roles(roles))?;
            return runtime.block_on(probe::run(&config));
        }
        Command::Config { roles } => {
            let roles = load::roles(roles);
            show::run(&load::config(file, &roles)?, &roles)?;
        }
        Command::Ratelimit(Ratelimit::CheckConfig { file }) => return limits::check(&file),
        Command::Token(asked) => token::run(load::config(file, &[])?, asked)?,
    }
    Ok(ExitCode::SUCCESS)
}
