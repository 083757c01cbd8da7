//! `pool`: calls through `mingle_store::redis` beside one bare connection of
//! redis-rs, both in this process, on the same server.

use std::{process, time::Duration};

use anyhow::ensure;
use mingle_store::redis::{Options, Redis};
use mingle_testkit as kit;
use redis::aio::MultiplexedConnection;
use tokio_util::sync::CancellationToken;

use crate::{
    load::{Caller, Load},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
};

const ROUNDS: u32 = 41;
const WARM_UP: Duration = Duration::from_secs(1);
/// What the pool may take to be connected.
const CONNECT: Duration = Duration::from_secs(10);
const KEY: &str = "mingle-bench";
/// As long as most values are.
const VALUE: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// How many call, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Calls in flight.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    callers: u32,
    /// Of each run: short, so that what else the machine does meets both sides.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    millis: u64,
}

/// Reads the value through the slots.
struct Slots(Redis);

impl Caller for Slots {
    async fn call(&mut self) -> anyhow::Result<()> {
        let value: String = self.0.query(redis::cmd("GET").arg(KEY)).await?;
        ensure!(value == VALUE, "the value is {value}");
        Ok(())
    }
}

/// Reads the value through a clone of the connection.
struct Bare(MultiplexedConnection);

impl Caller for Bare {
    async fn call(&mut self) -> anyhow::Result<()> {
        let value: String = redis::cmd("GET").arg(KEY).query_async(&mut self.0).await?;
        ensure!(value == VALUE, "the value is {value}");
        Ok(())
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report =
        Report::new("pool", "one bare connection of redis-rs, a clone for each caller");
    settings::machine(&mut report);
    let Args { callers, millis } = args;
    report.set("call", format!("GET of {} bytes", VALUE.len()));
    report.set("load", format!("closed loop, {callers} callers for {millis} ms"));
    let server = kit::Redis::start().await;
    let slots = Redis::start(Options::new(server.root_url()), CancellationToken::new()).await?;
    kit::eventually(CONNECT, "the pool is connected", async || slots.is_connected()).await;
    let bare = redis::Client::open(server.root_url())?.get_multiplexed_async_connection().await?;
    slots.query::<()>(redis::cmd("SET").arg(KEY).arg(VALUE)).await?;
    run(args, WARM_UP, || Slots(slots.clone())).await?;
    run(args, WARM_UP, || Bare(bare.clone())).await?;
    let time = Duration::from_millis(*millis);
    eprintln!("pool: Ours and Floor in turn");
    for _ in 0..plan.rounds(ROUNDS) {
        let ours = run(args, time, || Slots(slots.clone())).await?;
        let floor = run(args, time, || Bare(bare.clone())).await?;
        for (side, load) in [(Side::Ours, ours), (Side::Floor, floor)] {
            report.add("throughput", "calls/s", side, load.rate());
            report.add("client CPU each, generator included", "µs", side, load.cpu_us());
            load.latencies().report(&mut report, side, "latency");
        }
    }
    Ok(report)
}

async fn run<C: Caller>(
    args: &Args,
    time: Duration,
    caller: impl Fn() -> C,
) -> anyhow::Result<Load> {
    let callers = (0..args.callers).map(|_| caller()).collect();
    Load::run(callers, time, || proc::cpu(process::id())).await
}
