//! `versus-socketio`: the same rooms on Mingle and on Socket.IO with its Redis
//! adapter, two gateways and two nodes, on one Redis and one PostgreSQL.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use mingle_testkit::Redis;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    child::Child,
    crowd::{self, Load, Site, SocketIo, Trouble},
    meters::{Meter, Meters},
    plan::Plan,
    processes::Processes,
    report::{Report, Side},
    rooms,
};

const ROUNDS: u32 = 3;
const NODES: usize = 2;
const PACKAGE: &str = include_str!("../socketio/package.json");
const LOCK: &str = include_str!("../socketio/package-lock.json");
const SERVER: &str = include_str!("../socketio/server.mjs");
const TABLE: &str = "create table if not exists socketio_messages (
    id text not null, room text not null, sender text not null, body text not null,
    sent_at timestamptz not null)";
/// How long Redis is away.
const AWAY: Duration = Duration::from_millis(1_500);

/// The comparison.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    load: Load,
    /// Socket.IO counts each message in Redis and inserts it into PostgreSQL
    /// before it acknowledges it, as Mingle does in any case.
    #[arg(long)]
    stored: bool,
    /// Kills Redis in the middle of each run and starts it again after 1.5 s.
    #[arg(long)]
    restart_redis: bool,
}

impl Args {
    /// A server that is started again is another process, whose time is not
    /// that of the one before.
    fn spare(&self, redis: &'static str, meters: &mut Meters) {
        meters.0.retain(|meter| meter.name != redis || !self.restart_redis);
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    args.load.check()?;
    let mut report = Report::new("versus-socketio", "Socket.IO, not a floor but another system");
    report.set("load", args.load.tells());
    let each =
        if args.stored { "counted in Redis and inserted before the ack" } else { "kept nowhere" };
    report.set("Socket.IO's messages", each);
    if args.restart_redis {
        report.set("in the middle", format!("Redis is killed and back after {AWAY:?}"));
    }
    let folder = install(plan, &mut report).await?;
    for round in 1..=plan.rounds(ROUNDS) {
        eprintln!("versus-socketio, round {round}: Mingle");
        let mut processes = Processes::start(plan, &[]).await?;
        if round == 1 {
            processes.describe(&mut report, plan).await?;
        }
        let mut site = rooms::site(&processes, &args.load).await?;
        args.spare(processes.redis_meter().name, &mut site.meters);
        crowd::run(&mut report, &site, &args.load, trouble(args, processes.redis())).await?;
        processes.kill();
        clean(&processes).await?;
        eprintln!("versus-socketio, round {round}: Socket.IO");
        let (mut site, nodes) = nodes(args, &processes, folder.path()).await?;
        args.spare(processes.redis_meter().name, &mut site.meters);
        crowd::run(&mut report, &site, &args.load, trouble(args, processes.redis())).await?;
        for node in nodes {
            // It may have ended by itself.
            let _ = node.stop().await;
        }
    }
    Ok(report)
}

/// Socket.IO from the npm registry.
async fn install(plan: &Plan, report: &mut Report) -> anyhow::Result<TempDir> {
    let folder = plan.data_folder()?;
    fs::write(folder.path().join("package.json"), PACKAGE)?;
    fs::write(folder.path().join("package-lock.json"), LOCK)?;
    fs::write(folder.path().join("server.mjs"), SERVER)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    let done = npm.current_dir(folder.path()).output().await.context("npm")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "npm ci: {said}");
    let node = Command::new("node").arg("--version").output().await.context("node")?;
    let node = String::from_utf8_lossy(&node.stdout);
    report.set("Socket.IO", format!("{NODES} nodes of Node {}, {}", node.trim(), versions()));
    Ok(folder)
}

fn versions() -> String {
    let package: serde_json::Value = serde_json::from_str(PACKAGE).unwrap_or_default();
    let packages = package["dependencies"].as_object().into_iter().flatten();
    let each =
        packages.map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or("?")));
    each.collect::<Vec<_>>().join(", ")
}

/// Of what Mingle left, nothing is for Socket.IO to carry.
async fn clean(processes: &Processes) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(processes.database()).await?;
    sqlx::raw_sql("checkpoint").execute(&mut connection).await?;
    connection.close().await?;
    let said = processes.redis().cli(&["FLUSHALL"]);
    ensure!(said.trim() == "OK", "FLUSHALL: {said}");
    Ok(())
}

/// The nodes, on the servers that Mingle used.
async fn nodes(
    args: &Args,
    processes: &Processes,
    folder: &Path,
) -> anyhow::Result<(Site<SocketIo>, Vec<Child>)> {
    let (redis, database) = (processes.redis().root_url(), processes.database());
    let mut variables = vec![("REDIS_URL", redis.as_str()), ("NODE_ENV", "production")];
    if args.stored {
        let mut connection = PgConnection::connect(database).await?;
        sqlx::raw_sql(TABLE).execute(&mut connection).await?;
        connection.close().await?;
        variables.push(("DATABASE_URL", database));
    }
    let server = folder.join("server.mjs");
    let server = server.to_str().context("the path of the data folder is not UTF-8")?;
    let (mut nodes, mut urls) = (Vec::new(), Vec::new());
    for number in 0..NODES {
        let ready = ("socketio", folder.join(format!("log-{number}")));
        let node = Child::start(Path::new("node"), &[server], &variables, ready).await?;
        urls.push(format!("ws://{}", node.addr("socketio")?));
        nodes.push(node);
    }
    let pids = nodes.iter().map(Child::pid).collect();
    let node = Meter { name: "socket.io", counted: true, pids };
    let meters = Meters(vec![node, processes.redis_meter(), processes.postgres_meter()?]);
    let rooms = (0..args.load.rooms).map(|room| format!("room-{room}")).collect();
    Ok((Site { tongue: SocketIo, urls, rooms, meters, side: Side::Floor }, nodes))
}

fn trouble<'a>(args: &Args, redis: &'a Redis) -> Option<Trouble<'a>> {
    let restart = async {
        redis.kill();
        tokio::time::sleep(AWAY).await;
        redis.restart().await;
        Ok(())
    };
    args.restart_redis.then(|| Box::pin(restart) as Trouble<'a>)
}
