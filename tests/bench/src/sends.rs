//! `sends`: durable sends from many concurrent senders over gRPC, with and
//! without group append, beside bare commits of the same rows.
//!
//! On PostgreSQL each room's senders call one of the two processes, as gateways
//! do, and the floor has as many connections as the two have transactions.

use std::{
    net::SocketAddr,
    process,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use mingle_proto::chat::v1::{SendRequest, chat_service_client::ChatServiceClient};
use tonic::transport::Channel;

use crate::{
    chat::{self, BODY},
    floor::{
        postgres,
        rows::{self, GROUP, Row, Writer},
        sqlite,
    },
    load::{Caller, Load},
    plan::Plan,
    proc,
    processes::Processes,
    report::{Report, Side},
    settings,
    system::{System, channel},
};

const ROUNDS: u32 = 3;
const BATCH: &str = "MINGLE_CHAT__APPEND_BATCH";
/// Transactions at once of one process on PostgreSQL.
const LANES: u32 = 4;

/// How many send, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Sends in flight.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    senders: u32,
    /// Rooms that they spread over.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    rooms: u32,
    /// HTTP/2 connections that they share, to each process.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Of each run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Over several processes on Redis and PostgreSQL.
    #[arg(long)]
    processes: bool,
}

/// Sends one message after the other.
struct Sender {
    chat: ChatServiceClient<Channel>,
    actor: String,
    room_id: String,
    number: u32,
    sent: u64,
}

impl Caller for Sender {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.sent += 1;
        let request = SendRequest {
            actor: self.actor.clone(),
            room_id: self.room_id.clone(),
            client_msg_id: format!("{}-{}", self.number, self.sent),
            body: BODY.to_owned(),
            ..SendRequest::default()
        };
        self.chat.send(request).await?;
        Ok(())
    }
}

/// One way to commit: its name, and how many rows share a transaction at most.
type Way = (&'static str, usize);

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let floor = if args.processes {
        "bare commits of the same rows on the same server, by as many connections"
    } else {
        "bare commits of the same rows, by one writer"
    };
    let mut report = Report::new("sends", floor);
    let Args { senders, rooms, connections, .. } = args;
    let load = format!("closed loop, {senders} senders, {rooms} rooms, {connections} connections");
    report.set("load", format!("{load}, {} bytes each", BODY.len()));
    for round in 1..=plan.rounds(ROUNDS) {
        for way in [("grouped", GROUP), ("one by one", 1)] {
            let describe = round == 1 && way.1 > 1;
            eprintln!("sends, round {round}, {}", way.0);
            if args.processes {
                apart(&mut report, plan, args, (way, describe)).await?;
            } else {
                whole(&mut report, plan, args, (way, describe)).await?;
            }
        }
    }
    Ok(report)
}

/// In one process, on SQLite.
async fn whole(
    report: &mut Report,
    plan: &Plan,
    args: &Args,
    (way, describe): (Way, bool),
) -> anyhow::Result<()> {
    let system = System::start(plan, &[(BATCH, &way.1.to_string())]).await?;
    if describe {
        settings::describe(report, plan, &system).await?;
    }
    let callers = callers(&[system.grpc()?], args).await?;
    let (time, meters) = (Duration::from_secs(args.seconds), system.meters());
    let load = Load::run(callers, time, || meters.total()).await?;
    load.report(report, Side::Ours, (way.0, "sends/s"));
    let database = sqlite::Database::open(plan, &system.database(), &["chat_log"]).await?;
    system.stop().await?;
    let cpu = proc::cpu(process::id())?;
    let rows = commit(report, vec![database], args, way).await?;
    let cpu = proc::cpu(process::id())?.saturating_sub(cpu).as_secs_f64() * 1e6 / rows as f64;
    report.add(&format!("{}: server CPU each", way.0), "µs", Side::Floor, cpu);
    Ok(())
}

/// Over several processes, on Redis and PostgreSQL.
async fn apart(
    report: &mut Report,
    plan: &Plan,
    args: &Args,
    (way, describe): (Way, bool),
) -> anyhow::Result<()> {
    let mut processes = Processes::start(plan, &[(BATCH, &way.1.to_string())]).await?;
    if describe {
        processes.describe(report, plan).await?;
    }
    let chats = processes.grpc("chat");
    let callers = callers(&chats, args).await?;
    let (time, meters) = (Duration::from_secs(args.seconds), processes.meters()?);
    let meter = processes.postgres_meter()?;
    let cpu = meter.read()?;
    let load = Load::run(callers, time, || meters.total()).await?;
    load.report(report, Side::Ours, (way.0, "sends/s"));
    let figure = format!("{}: postgres CPU each", way.0);
    let each = |cpu, rows: u64| -> anyhow::Result<f64> {
        Ok(meter.read()?.saturating_sub(cpu).as_secs_f64() * 1e6 / rows as f64)
    };
    report.add(&figure, "µs", Side::Ours, each(cpu, load.latencies().count())?);
    processes.kill();
    let connections = LANES * u32::try_from(chats.len())?;
    let writers = postgres::Database::open(processes.database(), Row::Message, connections).await?;
    let cpu = meter.read()?;
    let rows = commit(report, writers, args, way).await?;
    report.add(&figure, "µs", Side::Floor, each(cpu, rows)?);
    Ok(())
}

/// Each room's senders call one of `chats`, over one of its connections.
async fn callers(chats: &[SocketAddr], args: &Args) -> anyhow::Result<Vec<Sender>> {
    let all = (0..args.connections).flat_map(|_| chats).map(|addr| channel(*addr));
    let clients: Vec<_> =
        try_join_all(all).await?.into_iter().map(ChatServiceClient::new).collect();
    let rooms = chat::rooms(&mut clients[0].clone(), args.rooms).await?;
    let senders = (0..args.senders).map(|number| {
        let (pair, again) = (number % args.rooms, number / args.rooms);
        let [ann, bob] = chat::members(pair);
        let actor = if again.is_multiple_of(2) { ann } else { bob };
        let room_id = rooms[pair as usize].clone();
        // Clients of one process stand `chats` apart.
        let of = pair as usize % chats.len();
        let which = (number as usize / chats.len()) % args.connections as usize;
        let chat = clients[of + which * chats.len()].clone();
        Sender { chat, actor, room_id, number, sent: 0 }
    });
    Ok(senders.collect())
}

/// Reports rows a second, each writer with its own rooms, `group` to a
/// transaction, and answers how many there were.
async fn commit<W: Writer>(
    report: &mut Report,
    writers: Vec<W>,
    args: &Args,
    (name, group): Way,
) -> anyhow::Result<u64> {
    let (start, time) = (Instant::now(), Duration::from_secs(args.seconds));
    let rooms = u64::from(args.rooms);
    let writing = (0..).zip(writers).map(|(number, mut writer)| async move {
        let mut written = 0;
        while start.elapsed() < time {
            let next = written..written + group as u64;
            let batch = next.map(|n| rows::message(number * rooms + n % rooms, n, BODY));
            writer.commit(Row::Message, batch.collect()).await?;
            written += group as u64;
        }
        anyhow::Ok(written)
    });
    let written: u64 = try_join_all(writing).await?.iter().sum();
    let rate = written as f64 / start.elapsed().as_secs_f64();
    report.add(&format!("{name}: throughput"), "sends/s", Side::Floor, rate);
    Ok(written)
}
