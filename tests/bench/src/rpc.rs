//! `rpc`: a unary call through the whole stack, beside bare tonic.

use std::{net::SocketAddr, time::Duration};

use futures::future::try_join_all;
use mingle_proto::presence::v1::{GetRequest, presence_service_client::PresenceServiceClient};
use tonic::transport::Channel;

use crate::{
    floor,
    load::{Caller, Load},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    system::{System, channel},
};

const ROUNDS: u32 = 5;
const WARM_UP: Duration = Duration::from_secs(1);

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

/// Asks for one user's presence.
struct Ask(PresenceServiceClient<Channel>);

impl Caller for Ask {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.0.get(GetRequest { user_id: "somebody".to_owned() }).await?;
        Ok(())
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("rpc", "a bare tonic server with the same messages");
    let system = System::start(plan, &[]).await?;
    settings::describe(&mut report, plan, &system).await?;
    let Args { callers, connections, seconds } = args;
    report.set("call", "PresenceService.Get of a user who is offline");
    report.set("load", format!("closed loop, {callers} callers on {connections} connections"));
    let floor = floor::Server::start(plan, &["floor-echo"]).await?;
    let sides = [
        (Side::Ours, system.pid(), channels(system.grpc()?, *connections).await?),
        (Side::Floor, floor.pid(), channels(floor.addr()?, *connections).await?),
    ];
    for (_, pid, channels) in &sides {
        run(channels, *callers, WARM_UP, *pid).await?;
    }
    for round in 1..=plan.rounds(ROUNDS) {
        for (side, pid, channels) in &sides {
            eprintln!("rpc, round {round}: {side:?}");
            let load = run(channels, *callers, Duration::from_secs(*seconds), *pid).await?;
            load.report(&mut report, *side, ("unary call", "calls/s"));
        }
    }
    floor.stop().await?;
    system.stop().await?;
    Ok(report)
}

async fn channels(addr: SocketAddr, count: u32) -> anyhow::Result<Vec<Channel>> {
    try_join_all((0..count).map(|_| channel(addr))).await
}

async fn run(channels: &[Channel], callers: u32, time: Duration, pid: u32) -> anyhow::Result<Load> {
    let callers = channels.iter().cycle().take(callers as usize);
    let callers = callers.map(|channel| Ask(PresenceServiceClient::new(channel.clone())));
    Load::run(callers.collect(), time, || proc::cpu(pid)).await
}
