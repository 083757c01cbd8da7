//! `versus-limiters`: the same decisions of throttlecrab's server, which keeps its counts
//! in its own memory, and of rate-limiter-flexible, a library, on the same Redis.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use mingle_testkit as kit;
use serde::Deserialize;
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tonic::{client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

use super::{Args, Bench, asks::Kind, limiter};
use crate::{
    load::{Caller, Load},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    system::{build, channel},
};

const ROUNDS: u32 = 3;
/// What its server may take to listen.
const START: Duration = Duration::from_secs(30);
const PACKAGE: &str = include_str!("../../limiters/package.json");
const LOCK: &str = include_str!("../../limiters/package-lock.json");
const SCRIPT: &str = include_str!("../../limiters/consume.mjs");
/// What is asked of all three.
const KINDS: [Kind; 2] = [Kind::Once, Kind::Hot];

/// The comparison.
#[derive(clap::Args)]
pub(crate) struct Versus {
    #[command(flatten)]
    load: Args,
    /// The program throttlecrab-server (`cargo install throttlecrab-server`).
    #[arg(long, value_name = "PATH")]
    throttlecrab: PathBuf,
}

/// What one of them did.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Did {
    rate: f64,
    cpu_us: f64,
    p50: f64,
    p99: f64,
}

impl Did {
    fn of(load: &Load) -> Self {
        let at = |q| load.latencies().quantile_ms(q);
        Self { rate: load.rate(), cpu_us: load.cpu_us(), p50: at(0.5), p99: at(0.99) }
    }

    fn report(self, report: &mut Report, side: Side, (who, kind): (&str, Kind)) {
        let name = format!("{}, {who}", kind.name());
        report.add(&format!("{name}: CPU each"), "µs", side, self.cpu_us);
        report.add(&format!("{name}: decisions"), "1/s", side, self.rate);
        report.add(&format!("{name}: p50"), "ms", side, self.p50);
        report.add(&format!("{name}: p99"), "ms", side, self.p99);
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Versus) -> anyhow::Result<Report> {
    let mut report = Report::new("versus-limiters", "no floors but other systems");
    settings::machine(&mut report);
    let Args { callers, connections, seconds } = &args.load;
    report.set("load", format!("closed loop, {callers} callers on {connections} connections"));
    let (redis, folder) = (kit::Redis::start().await, plan.data_folder()?);
    let ours = limiter(plan, &redis.root_url(), folder.path(), &[super::PATIENCE]).await?;
    let at = ours.addr("grpc")?;
    report.set("server", format!("{} ({})", build(at).await?, plan.binary.display()));
    report.set("rate-limiter-flexible", install(folder.path()).await?);
    let bench = Bench { args: &args.load, subjects: Arc::default() };
    let time = Duration::from_secs(*seconds);
    for round in 1..=plan.rounds(ROUNDS) {
        for kind in KINDS {
            eprintln!("versus-limiters, round {round}: {kind:?}");
            let did = Did::of(&bench.run(kind, at, ours.pid(), time).await?);
            did.report(&mut report, Side::Ours, ("Mingle over Redis", kind));
            let did = crab(args, kind, time).await?;
            did.report(&mut report, Side::Floor, ("throttlecrab in memory", kind));
            let did = flexible(folder.path(), &redis, &args.load, kind).await?;
            let who = "rate-limiter-flexible in process over Redis";
            did.report(&mut report, Side::Floor, (who, kind));
        }
    }
    ours.stop().await?;
    Ok(report)
}

/// `throttlecrab.ThrottleRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct Throttle {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(int32, tag = "2")]
    max_burst: i32,
    #[prost(int32, tag = "3")]
    count_per_period: i32,
    #[prost(int32, tag = "4")]
    period: i32,
    #[prost(int32, tag = "5")]
    quantity: i32,
}

/// `throttlecrab.ThrottleResponse`, as far as it is read.
#[derive(Clone, PartialEq, prost::Message)]
struct Throttled {
    #[prost(bool, tag = "1")]
    allowed: bool,
}

struct Crab {
    channel: Channel,
    keys: Arc<AtomicU64>,
    is_one: bool,
}

impl Caller for Crab {
    async fn call(&mut self) -> anyhow::Result<()> {
        let number = self.keys.fetch_add(1, Ordering::Relaxed);
        let (key, most) = match self.is_one {
            true => ("bench".to_owned(), 1_000_000_000),
            false => (format!("bench {number}"), 30),
        };
        let ask =
            Throttle { key, max_burst: most, count_per_period: most, period: 60, quantity: 1 };
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await?;
        let path = PathAndQuery::from_static("/throttlecrab.RateLimiter/Throttle");
        let codec = ProstCodec::<Throttle, Throttled>::default();
        let told = client.unary(tonic::Request::new(ask), path, codec).await?.into_inner();
        ensure!(told.allowed, "throttlecrab denies");
        Ok(())
    }
}

async fn crab(args: &Versus, kind: Kind, time: Duration) -> anyhow::Result<Did> {
    let port = kit::free_port();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let mut server = Command::new(&args.throttlecrab)
        .args(["--grpc", "--grpc-host", "127.0.0.1", "--grpc-port", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| args.throttlecrab.display().to_string())?;
    let pid = server.id().context("throttlecrab ended")?;
    let (keys, mut callers) = (Arc::<AtomicU64>::default(), Vec::new());
    let mut channels = Vec::new();
    for _ in 0..args.load.connections {
        let listening = timeout(START, listening(&mut server, at)).await;
        channels.push(listening.context("throttlecrab does not listen")??);
    }
    for channel in channels.iter().cycle().take(args.load.callers as usize) {
        let (channel, keys) = (channel.clone(), keys.clone());
        callers.push(Crab { channel, keys, is_one: kind == Kind::Hot });
    }
    let load = Load::run(callers, time, || proc::cpu(pid)).await?;
    server.kill().await?;
    Ok(Did::of(&load))
}

/// A connection, when the server listens.
async fn listening(server: &mut Child, at: SocketAddr) -> anyhow::Result<Channel> {
    loop {
        ensure!(server.try_wait()?.is_none(), "throttlecrab ended");
        match channel(at).await {
            Ok(channel) => return Ok(channel),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn install(folder: &Path) -> anyhow::Result<String> {
    for (name, text) in
        [("package.json", PACKAGE), ("package-lock.json", LOCK), ("consume.mjs", SCRIPT)]
    {
        fs::write(folder.join(name), text)?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    let done = npm.current_dir(folder).output().await.context("npm")?;
    ensure!(done.status.success(), "npm ci: {}", String::from_utf8_lossy(&done.stderr));
    let package: serde_json::Value = serde_json::from_str(PACKAGE)?;
    let node = Command::new("node").arg("--version").output().await.context("node")?;
    let node = String::from_utf8_lossy(&node.stdout);
    Ok(format!("{}, Node {}", package["dependencies"], node.trim()))
}

async fn flexible(
    folder: &Path,
    redis: &kit::Redis,
    load: &Args,
    kind: Kind,
) -> anyhow::Result<Did> {
    let of_one = u8::from(kind == Kind::Hot).to_string();
    let arguments = [load.callers.to_string(), load.seconds.to_string(), of_one];
    let mut node = Command::new("node");
    node.arg("consume.mjs").args(arguments).current_dir(folder);
    let done = node.env("REDIS_URL", redis.root_url()).output().await.context("node")?;
    ensure!(done.status.success(), "node: {}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}
