//! `ratelimit`: decisions of one ratelimit process over Redis, each kind beside a bare
//! tonic call, and the script by itself.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use mingle_proto::{
    presence::v1::{GetRequest, presence_service_client::PresenceServiceClient},
    ratelimit::v1::{
        Charge, CheckEachRequest, CheckRequest, rate_limit_service_client::RateLimitServiceClient,
    },
};
use mingle_testkit as kit;
use tonic::transport::Channel;

use crate::{
    child::Child,
    floor,
    load::{Caller, Load},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    system::{build, channel},
};

const ROUNDS: u32 = 3;
const WARM_UP: Duration = Duration::from_secs(1);
/// Of one call of several.
const BATCH: u64 = 64;
const LIMIT: &str = "chat_message";
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

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One check of a subject that nobody has heard of.
    Cold,
    /// One check of the one subject that has nothing left.
    Denied,
    /// Many cold checks in one call.
    Batch,
    /// A bare call.
    Echo,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Cold | Self::Echo => "cold check",
            Self::Denied => "check of one denied subject",
            Self::Batch => "check in a batch of 64",
        }
    }

    fn decisions(self) -> f64 {
        if let Self::Batch = self { BATCH as f64 } else { 1.0 }
    }
}

struct Asks {
    kind: Kind,
    channel: Channel,
    subjects: Arc<AtomicU64>,
}

impl Asks {
    fn check(&self) -> CheckRequest {
        let number = self.subjects.fetch_add(1, Ordering::Relaxed);
        let subject = match self.kind {
            Kind::Denied => "bench".to_owned(),
            _ => format!("bench {number}"),
        };
        let charge = Charge { subject, limits: vec![LIMIT.to_owned()], cost: Some(1) };
        CheckRequest {
            charge: Some(charge),
            request_id: number.to_string(),
            is_new: true,
            once: false,
        }
    }
}

impl Caller for Asks {
    async fn call(&mut self) -> anyhow::Result<()> {
        let mut limits = RateLimitServiceClient::new(self.channel.clone());
        match self.kind {
            Kind::Cold | Kind::Denied => {
                let reply = limits.check(self.check()).await?.into_inner();
                ensure!(!reply.degraded, "not counted together");
                ensure!(reply.allowed != matches!(self.kind, Kind::Denied), "{reply:?}");
            }
            Kind::Batch => {
                let checks = (0..BATCH).map(|_| self.check()).collect();
                let reply = limits.check_each(CheckEachRequest { checks }).await?.into_inner();
                let is_good = |it: &_| matches!(it, Some(true));
                let allowed =
                    reply.results.iter().map(|it| it.response.as_ref().map(|it| it.allowed));
                ensure!(allowed.filter(is_good).count() as u64 == BATCH, "not all of a batch");
            }
            Kind::Echo => {
                let user_id = "somebody".to_owned();
                PresenceServiceClient::new(self.channel.clone())
                    .get(GetRequest { user_id })
                    .await?;
            }
        }
        Ok(())
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("ratelimit", "a bare tonic call");
    settings::machine(&mut report);
    let Args { callers, connections, .. } = args;
    report.set("limit", "sliding_window, 30 in a minute");
    report.set("load", format!("closed loop, {callers} callers on {connections} connections"));
    let redis = kit::Redis::start().await;
    let folder = plan.data_folder()?;
    let url = redis.root_url();
    let variables = [
        ("REDIS_URL", &*url),
        ("MINGLE_GRPC__LISTEN", "127.0.0.1:0"),
        ("MINGLE_PROBES__LISTEN", "127.0.0.1:0"),
        ("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__QUOTA", "30"),
        PATIENCE,
    ];
    let ready = ("mingle", folder.path().join("log"));
    let limiter = Child::start(&plan.binary, &["serve", "ratelimit"], &variables, ready).await?;
    let at = limiter.addr("grpc")?;
    report.set("server", format!("{} ({})", build(at).await?, plan.binary.display()));
    settings::telemetry(&mut report);
    let floor = floor::Server::start(plan, "floor-echo").await?;
    let bench = Bench { args, subjects: Arc::default() };
    // Nothing is left of the one.
    for _ in 0..31 {
        let mut asks = bench.asks(Kind::Denied, channel(at).await?);
        let _ = asks.call().await;
    }
    for (kind, at, pid) in
        [(Kind::Cold, at, limiter.pid()), (Kind::Echo, floor.addr()?, floor.pid())]
    {
        bench.run(kind, at, pid, WARM_UP).await?;
    }
    for round in 1..=plan.rounds(ROUNDS) {
        for kind in [Kind::Cold, Kind::Denied, Kind::Batch] {
            eprintln!("ratelimit, round {round}: {kind:?}");
            let time = Duration::from_secs(args.seconds);
            let commands = scripts(&redis)?;
            let ours = bench.run(kind, at, limiter.pid(), time).await?;
            let commands = scripts(&redis)? - commands;
            let echo = bench.run(Kind::Echo, floor.addr()?, floor.pid(), time).await?;
            let decisions = ours.latencies().count() as f64 * kind.decisions();
            let (name, each) = (kind.name(), kind.decisions());
            for (side, load, each) in [(Side::Ours, &ours, each), (Side::Floor, &echo, 1.0)] {
                report.add(&format!("{name}: server CPU each"), "µs", side, load.cpu_us() / each);
                report.add(&format!("{name}: decisions"), "1/s", side, load.rate() * each);
                load.latencies().report(&mut report, side, &format!("{name}: call"));
            }
            let name = format!("{name}: scripts on Redis each");
            report.add(&name, "", Side::Ours, commands as f64 / decisions);
        }
    }
    floor.stop().await?;
    limiter.stop().await?;
    Ok(report)
}

struct Bench<'a> {
    args: &'a Args,
    subjects: Arc<AtomicU64>,
}

impl Bench<'_> {
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
        let mut channels = Vec::new();
        for _ in 0..self.args.connections {
            channels.push(channel(at).await?);
        }
        let callers = channels.iter().cycle().take(self.args.callers as usize);
        let callers = callers.map(|channel| self.asks(kind, channel.clone())).collect();
        Load::run(callers, time, || proc::cpu(pid)).await
    }
}

/// Scripts that Redis ran so far.
fn scripts(redis: &kit::Redis) -> anyhow::Result<u64> {
    let told = redis.cli(&["INFO", "commandstats"]);
    let line = told.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()).unwrap_or("0");
    calls.parse().context("calls of evalsha")
}
