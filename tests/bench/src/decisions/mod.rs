//! `ratelimit`: decisions of one ratelimit process over Redis, each kind beside a bare
//! tonic call, and batches beside the script by itself.

mod asks;
mod half;
pub(crate) mod outage;
mod script;
pub(crate) mod versus;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context as _;
use mingle_testkit as kit;
use tonic::transport::Channel;

use asks::{Asks, Kind};

use crate::{
    child::Child,
    floor,
    load::{Caller as _, Load},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    system::{build, channel},
};

const ROUNDS: u32 = 3;
const WARM_UP: Duration = Duration::from_secs(1);
/// What a batch, and an answer on cores that are full, may take.
const PATIENCE: (&str, &str) = ("MINGLE_RATELIMIT__TIMEOUT_MS", "2000");

/// How many call, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Calls in flight.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    callers: u32,
    /// HTTP/2 connections that they share.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Of each run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("ratelimit", "a bare tonic call");
    settings::machine(&mut report);
    let Args { callers, connections, .. } = args;
    report.set(
        "limit",
        "sliding_window, 30 in a minute; of the denied subject 30, of the hot one 10^9 in an hour",
    );
    report.set("load", format!("closed loop, {callers} callers on {connections} connections"));
    let redis = kit::Redis::start().await;
    let folder = plan.data_folder()?;
    let limiter = limiter(plan, &redis.root_url(), folder.path(), &[PATIENCE]).await?;
    let at = limiter.addr("grpc")?;
    report.set("server", format!("{} ({})", build(at).await?, plan.binary.display()));
    settings::telemetry(&mut report);
    let floor = floor::Server::start(plan, &["floor-echo"]).await?;
    let bench = Bench { args, subjects: Arc::default() };
    // Nothing is left of the one.
    for _ in 0..31 {
        let mut asks = bench.asks(Kind::Denied, channel(at).await?);
        let _ = asks.call().await;
    }
    let bare = floor::Server::start(plan, &["floor-script", &redis.root_url()]).await?;
    for (kind, at, pid) in [
        (Kind::Cold, at, limiter.pid()),
        (Kind::Cold, bare.addr()?, bare.pid()),
        (Kind::Echo, floor.addr()?, floor.pid()),
    ] {
        bench.run(kind, at, pid, WARM_UP).await?;
    }
    let sides = [(Side::Ours, at, limiter.pid()), (Side::Floor, floor.addr()?, floor.pid())];
    for round in 1..=plan.rounds(ROUNDS) {
        for kind in Kind::OURS {
            eprintln!("ratelimit, round {round}: {kind:?}");
            bench.round(&mut report, kind, (&redis, sides)).await?;
        }
        bench.of_scripts(&mut report, &redis, &bare).await?;
    }
    floor.stop().await?;
    bare.stop().await?;
    limiter.stop().await?;
    Ok(report)
}

/// A process over this Redis.
async fn limiter(
    plan: &Plan,
    redis: &str,
    folder: &Path,
    more: &[(&str, &str)],
) -> anyhow::Result<Child> {
    let mut variables = vec![
        ("REDIS_URL", redis),
        ("MINGLE_GRPC__LISTEN", "127.0.0.1:0"),
        ("MINGLE_PROBES__LISTEN", "127.0.0.1:0"),
        ("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__QUOTA", "30"),
        ("MINGLE_RATELIMIT__LIMITS__QUEUE_JOIN__QUOTA", "30"),
        ("MINGLE_RATELIMIT__LIMITS__QUEUE_JOIN__WINDOW", "1h"),
        ("MINGLE_RATELIMIT__LIMITS__API__QUOTA", "1000000000"),
        ("MINGLE_RATELIMIT__LIMITS__API__WINDOW", "1h"),
    ];
    variables.extend(more);
    Child::start(&plan.binary, &["serve", "ratelimit"], &variables, ("mingle", folder.join("log")))
        .await
}

struct Bench<'a> {
    args: &'a Args,
    subjects: Arc<AtomicU64>,
}

type Sides = [(Side, SocketAddr, u32); 2];

impl Bench<'_> {
    async fn round(
        &self,
        report: &mut Report,
        kind: Kind,
        (redis, sides): (&kit::Redis, Sides),
    ) -> anyhow::Result<()> {
        let (time, name) = (Duration::from_secs(self.args.seconds), kind.name());
        let mut rate = 0.0;
        for (side, at, pid) in sides {
            let is_ours = matches!(side, Side::Ours);
            let (kind, each) = if is_ours { (kind, kind.decisions()) } else { (Kind::Echo, 1.0) };
            let commands = scripts(redis)?;
            let load = self.run(kind, at, pid, time).await?;
            let commands = scripts(redis)? - commands;
            report.add(&format!("{name}: server CPU each"), "µs", side, load.cpu_us() / each);
            report.add(&format!("{name}: decisions"), "1/s", side, load.rate() * each);
            load.latencies().report(report, side, &format!("{name}: call"));
            if is_ours {
                rate = load.rate();
                let decisions = load.latencies().count() as f64 * each;
                let name = format!("{name}: scripts on Redis each");
                report.add(&name, "", side, commands as f64 / decisions);
            }
        }
        for (side, at, _) in sides {
            let kind = if matches!(side, Side::Ours) { kind } else { Kind::Echo };
            let asks = self.callers(kind, at).await?;
            let half = half::run(asks, (rate / 2.0) as u32, time).await?;
            half.report(report, side, &format!("{name}: call at half of that rate"));
        }
        Ok(())
    }

    /// What scripts cost: one behind a bare call, and ours behind nothing.
    async fn of_scripts(
        &self,
        report: &mut Report,
        redis: &kit::Redis,
        server: &floor::Server,
    ) -> anyhow::Result<()> {
        let time = Duration::from_secs(self.args.seconds);
        let load = self.run(Kind::Cold, server.addr()?, server.pid(), time).await?;
        let name = format!("{}: server CPU each, of a bare script", Kind::Cold.name());
        report.add(&name, "µs", Side::Floor, load.cpu_us());
        let rate = script::run(redis, self.subjects.clone(), time).await?;
        let name = format!("{}: decisions, of the script in pipelines", Kind::Batch.name());
        report.add(&name, "1/s", Side::Floor, rate);
        Ok(())
    }

    async fn callers(&self, kind: Kind, at: SocketAddr) -> anyhow::Result<Vec<Asks>> {
        let mut channels = Vec::new();
        for _ in 0..self.args.connections {
            channels.push(channel(at).await?);
        }
        let callers = channels.iter().cycle().take(self.args.callers as usize);
        Ok(callers.map(|channel| self.asks(kind, channel.clone())).collect())
    }

    fn asks(&self, kind: Kind, channel: Channel) -> Asks {
        Asks { kind, channel, subjects: self.subjects.clone() }
    }

    async fn run(
        &self,
        kind: Kind,
        at: SocketAddr,
        pid: u32,
        time: Duration,
    ) -> anyhow::Result<Load> {
        Load::run(self.callers(kind, at).await?, time, || proc::cpu(pid)).await
    }
}

/// Scripts that Redis ran so far.
fn scripts(redis: &kit::Redis) -> anyhow::Result<u64> {
    let told = redis.cli(&["INFO", "commandstats"]);
    let line = told.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()).unwrap_or("0");
    calls.parse().context("calls of evalsha")
}
