//! The command line.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::{
    cached, chat, connections, crowd, decisions, floor, history, main_job, matching, plan::Plan,
    pool, report::Report, rooms, rpc, sends, shards, stalled, versus,
};

/// Measures a running Mingle beside the floor of the same machine.
#[derive(Parser)]
#[command(name = "mingle-bench", version)]
struct Cli {
    /// The server to measure; by default the `mingle` beside this program.
    #[arg(long, global = true, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Where the data folders are made, on the disk to be measured; by default
    /// the folder for temporary files.
    #[arg(long, global = true, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Pairs of runs, server and floor in turn; by default 5 for rpc, 41 for
    /// pool, 15 for shards, else 3.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Prints JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Strangers who come, meet, talk and go, over several processes.
    Main(main_job::Args),
    /// A unary call through the whole stack.
    Rpc(rpc::Args),
    /// Idle sockets.
    Connections(connections::Args),
    /// Joins at a rate.
    Match(matching::Args),
    /// Messages at a rate.
    Chat(chat::Args),
    /// Messages in rooms of many, over several processes.
    Rooms(crowd::Load),
    /// The same rooms on Socket.IO, from the npm registry.
    VersusSocketio(versus::Args),
    /// Durable sends from many concurrent senders.
    Sends(sends::Args),
    /// Readers beside sockets that read nothing.
    Slow(stalled::Args),
    /// Decisions of one ratelimit process.
    Ratelimit(decisions::Args),
    /// Reads of one cache process.
    Cache(cached::Args),
    /// The same reads of bentocache, and of Redis itself.
    VersusCaches(cached::Args),
    /// Pages of rooms from chat and from the cache.
    CacheHistory(history::Args),
    /// Checks while Redis is frozen.
    RatelimitOutage(decisions::outage::Args),
    /// The same decisions of throttlecrab-server and of rate-limiter-flexible.
    VersusLimiters(decisions::versus::Versus),
    /// Calls of Redis through the slots.
    Pool(pool::Args),
    /// Calls of a Redis Cluster of which one server is frozen.
    Shards(shards::Args),
    /// Serves bare tonic.
    #[command(hide = true)]
    FloorEcho,
    /// Serves bare tonic that runs a script.
    #[command(hide = true)]
    FloorScript { url: String },
    /// Serves bare WebSockets.
    #[command(hide = true)]
    FloorWs,
    /// Serves bare WebSockets in rooms.
    #[command(hide = true)]
    FloorRooms,
}

/// Runs the command and returns its exit code.
pub(crate) fn run() -> ExitCode {
    match measure(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mingle-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let report = runtime.block_on(async {
        let plan = || Plan::new(cli.binary, cli.dir, cli.rounds);
        match cli.what {
            What::Main(args) => main_job::measure(&plan()?, &args).await.map(Some),
            What::Rpc(args) => rpc::measure(&plan()?, &args).await.map(Some),
            What::Connections(args) => connections::measure(&plan()?, &args).await.map(Some),
            What::Match(args) => matching::measure(&plan()?, &args).await.map(Some),
            What::Chat(args) => chat::measure(&plan()?, &args).await.map(Some),
            What::Rooms(load) => rooms::measure(&plan()?, &load).await.map(Some),
            What::VersusSocketio(args) => versus::measure(&plan()?, &args).await.map(Some),
            What::Sends(args) => sends::measure(&plan()?, &args).await.map(Some),
            What::Slow(args) => stalled::measure(&plan()?, &args).await.map(Some),
            What::Ratelimit(args) => decisions::measure(&plan()?, &args).await.map(Some),
            What::Cache(args) => cached::measure(&plan()?, &args).await.map(Some),
            What::CacheHistory(args) => history::measure(&plan()?, &args).await.map(Some),
            What::VersusCaches(args) => cached::versus::measure(&plan()?, &args).await.map(Some),
            What::RatelimitOutage(args) => {
                decisions::outage::measure(&plan()?, &args).await.map(Some)
            }
            What::VersusLimiters(args) => {
                decisions::versus::measure(&plan()?, &args).await.map(Some)
            }
            What::Pool(args) => pool::measure(&plan()?, &args).await.map(Some),
            What::Shards(args) => shards::measure(&plan()?, &args).await.map(Some),
            What::FloorEcho => floor::echo::serve().await.map(|()| None),
            What::FloorScript { url } => floor::script::serve(&url).await.map(|()| None),
            What::FloorRooms => floor::rooms::serve().await.map(|()| None),
            What::FloorWs => floor::ws::serve().await.map(|()| None),
        }
    })?;
    match report {
        Some(report) => print(&report, cli.json).context("cannot print"),
        None => Ok(()),
    }
}

fn print(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{:#}", report.json())
    } else {
        out.write_all(report.text().as_bytes())
    }
}
