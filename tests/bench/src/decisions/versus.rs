//! `versus-limiters`: the same decisions of throttlecrab's server, which keeps its counts
//! in its own memory, and of rate-limiter-flexible, a library, on the same Redis.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use mingle_testkit as kit;
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tonic::{client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

use super::{Args, Bench, asks::Kind, limiter};
use crate::{
    load::{Caller, Load},
    npm::{Did, Package, run},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    system::{build, channel},
};

const ROUNDS: u32 = 3;
/// What its server may take to listen.
const START: Duration = Duration::from_secs(30);
const FLEXIBLE: Package = Package {
    package: include_str!("../../limiters/package.json"),
    lock: include_str!("../../limiters/package-lock.json"),
    script: include_str!("../../limiters/consume.mjs"),
};
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
    report.set("rate-limiter-flexible", FLEXIBLE.install(folder.path()).await?);
    let bench = Bench { args: &args.load, subjects: Arc::default() };
    let time = Duration::from_secs(*seconds);
    for round in 1..=plan.rounds(ROUNDS) {
        for kind in KINDS {
            eprintln!("versus-limiters, round {round}: {kind:?}");
            let did = Did::of(&bench.run(kind, at, ours.pid(), time).await?);
            let name = |who| format!("{}, {who}", kind.name());
            did.report(&mut report, Side::Ours, (&name("Mingle over Redis"), "decisions"));
            let did = crab(args, kind, time).await?;
            did.report(&mut report, Side::Floor, (&name("throttlecrab in memory"), "decisions"));
            let of_one = u8::from(kind == Kind::Hot).to_string();
            let arguments = [callers.to_string(), seconds.to_string(), of_one];
            let did = run(folder.path(), &redis, &arguments).await?;
            let who = name("rate-limiter-flexible in process over Redis");
            did.report(&mut report, Side::Floor, (&who, "decisions"));
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
