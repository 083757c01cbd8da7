//! `shards`: calls of two servers of a Redis Cluster while the third is frozen,
//! from that moment on, beside the same calls while all three serve. Others call
//! the third all the while, as users do.

use std::{process, time::Duration};

use anyhow::{Context as _, ensure};
use mingle_store::redis::{Options, Redis};
use mingle_testkit as kit;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    load::{Caller, Load},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
};

const ROUNDS: u32 = 15;
const WARM_UP: Duration = Duration::from_secs(1);
/// What all servers may take to be there.
const CONNECT: Duration = Duration::from_secs(60);
/// Between two calls of who calls the third.
const PAUSE: Duration = Duration::from_millis(5);

/// How many call, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Calls in flight, of the two servers that serve.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    callers: u32,
    /// Of each run, from the moment at which the third is frozen.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    millis: u64,
}

/// Asks a server whether a key is there.
struct Asks(Redis, String);

impl Caller for Asks {
    async fn call(&mut self) -> anyhow::Result<()> {
        let there: u64 = self.0.query(redis::cmd("EXISTS").arg(&self.1)).await?;
        ensure!(there == 0, "the key is there");
        Ok(())
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("shards", "the same calls while all three serve");
    settings::machine(&mut report);
    let Args { callers, millis } = args;
    let load = format!("closed loop, {callers} callers of two servers for {millis} ms");
    report.set("call", "EXISTS of no key");
    report.set("load", format!("{load}, as many of the third, 5 ms between their calls"));
    let cluster = kit::Cluster::of(3, 0).await;
    let redis = Redis::start(Options::new(cluster.url()), CancellationToken::new()).await?;
    let keys = keys(&cluster, &redis)?;
    let (third, two) = keys.split_first().context("three keys")?;
    let mut others = JoinSet::new();
    for _ in 0..*callers {
        let mut asks = Asks(redis.clone(), third.clone());
        others.spawn(async move {
            loop {
                // That it is away is what is measured beside it.
                let _ = asks.call().await;
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    let is_there = || async { Asks(redis.clone(), third.clone()).call().await.is_ok() };
    run(args, WARM_UP, &redis, two).await?;
    let time = Duration::from_millis(*millis);
    eprintln!("shards: Floor and Ours in turn");
    for _ in 0..plan.rounds(ROUNDS) {
        kit::eventually(CONNECT, "all to serve", is_there).await;
        let floor = run(args, time, &redis, two).await?;
        cluster.servers()[0].freeze();
        let ours = run(args, time, &redis, two).await;
        cluster.servers()[0].thaw();
        for (side, load) in [(Side::Ours, ours?), (Side::Floor, floor)] {
            report.add("throughput", "calls/s", side, load.rate());
            load.latencies().report(&mut report, side, "latency");
        }
    }
    Ok(report)
}

/// A key of each server.
fn keys(cluster: &kit::Cluster, redis: &Redis) -> anyhow::Result<Vec<String>> {
    let of = |server: &kit::Redis| {
        let keys = (0..1_000).map(|at| redis.key(format_args!("bench:{at}"), "none"));
        let has = |key: &String| cluster.owner(key).is_some_and(|it| it.port() == server.port());
        keys.into_iter().find(has)
    };
    cluster.servers().iter().map(of).collect::<Option<_>>().context("a server without keys")
}

async fn run(args: &Args, time: Duration, redis: &Redis, keys: &[String]) -> anyhow::Result<Load> {
    let callers = keys.iter().cycle().take(args.callers as usize);
    let callers = callers.map(|key| Asks(redis.clone(), key.clone())).collect();
    Load::run(callers, time, || proc::cpu(process::id())).await
}
