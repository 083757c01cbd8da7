//! `connections`: idle sockets that have said hello, beside bare ones.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mingle_client::ws::{Client, Encoding};
use tokio::task::JoinSet;

use crate::{
    floor,
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    sockets::{CONNECTING, MOST, Progress},
    system::System,
    token,
};

const ROUNDS: u32 = 3;
/// After the last hello, before memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// How many, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Sockets, each of its own user.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=MOST as u64))]
    count: u64,
    /// How long they stay idle; the server pings after 25 s.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    hold: u64,
}

type Held = Pin<Box<dyn Future<Output = String> + Send>>;

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report =
        Report::new("connections", "a bare tokio-tungstenite server that echoed one message");
    report.set("sockets", format!("{} users, protobuf, idle for {} s", args.count, args.hold));
    for round in 1..=plan.rounds(ROUNDS) {
        eprintln!("connections, round {round}: Ours");
        let system = System::start(plan, &[]).await?;
        if round == 1 {
            settings::describe(&mut report, plan, &system).await?;
        }
        let url: Arc<str> = system.url()?.into();
        hold(&mut report, (Side::Ours, system.pid()), args, |n| greet(url.clone(), n)).await?;
        system.stop().await?;

        eprintln!("connections, round {round}: Floor");
        let floor = floor::Server::start(plan, &["floor-ws"]).await?;
        let addr = floor.addr()?;
        let greet = |n: u64| async move {
            // As long as a hello.
            let socket = floor::ws::greet(addr, &token::mint(&format!("user-{n}"))?).await?;
            let held: Held = Box::pin(async {
                floor::ws::hold(socket).await;
                "the floor closed a socket".to_owned()
            });
            Ok(held)
        };
        hold(&mut report, (Side::Floor, floor.pid()), args, greet).await?;
        floor.stop().await?;
    }
    Ok(report)
}

/// Connects user `n` and says hello; the answer reads until the socket ends.
async fn greet(url: Arc<str>, n: u64) -> anyhow::Result<Held> {
    let token = token::mint(&format!("user-{n}"))?;
    let mut client = Client::connect(&url, Encoding::Proto).await?;
    client.hello(&token, None).await?;
    Ok(Box::pin(async move {
        loop {
            if let Err(error) = client.event().await {
                return error.to_string();
            }
        }
    }))
}

/// Fills the server with sockets, holds them, and reports.
async fn hold<F: Future<Output = anyhow::Result<Held>>>(
    report: &mut Report,
    (side, pid): (Side, u32),
    args: &Args,
    greet: impl Fn(u64) -> F,
) -> anyhow::Result<()> {
    let progress = Arc::new(Progress::default());
    let mut held = JoinSet::new();
    let mut keep = |socket: Held| {
        let progress = progress.clone();
        held.spawn(async move { progress.fail(format!("a socket ended: {}", socket.await)) });
    };
    // What the first socket of all costs is the server's, not a socket's.
    keep(greet(0).await?);
    tokio::time::sleep(SETTLE).await;
    let (empty, idle_cpu, start) = (proc::resident(pid)?, proc::cpu(pid)?, Instant::now());
    let mut greeting = stream::iter((1..=args.count).map(greet)).buffer_unordered(CONNECTING);
    while let Some(socket) = greeting.try_next().await? {
        keep(socket);
    }
    let (took, count) = (start.elapsed().as_secs_f64(), args.count as f64);
    report.add("sockets greeted", "sockets/s", side, count / took);
    tokio::time::sleep(SETTLE).await;
    let greeted_cpu = proc::cpu(pid)?;
    report.add("server CPU per hello", "µs", side, micros(greeted_cpu - idle_cpu) / count);
    let per_socket = |resident: u64| (resident as f64 - empty as f64) / count / 1024.0;
    report.add("resident memory per socket", "KiB", side, per_socket(proc::resident(pid)?));
    eprintln!("  {count} sockets in {took:.1} s; idle for {} s", args.hold);

    tokio::time::sleep(Duration::from_secs(args.hold)).await;
    progress.wait(0, Duration::ZERO).await?;
    ensure!(held.len() as u64 == args.count + 1, "sockets ended");
    report.add("the same after the idle time", "KiB", side, per_socket(proc::resident(pid)?));
    let cpu = micros(proc::cpu(pid)? - greeted_cpu) / count / args.hold as f64;
    report.add("server CPU per idle socket and second", "µs", side, cpu);
    report.add("resident memory before", "MiB", side, empty as f64 / 1024.0 / 1024.0);
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
