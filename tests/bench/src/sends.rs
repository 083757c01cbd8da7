//! `sends`: durable sends from many concurrent senders over gRPC, with and
//! without group append, beside bare commits of the same rows.

use std::{
    process,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use mingle_proto::chat::v1::{SendRequest, chat_service_client::ChatServiceClient};
use tonic::transport::Channel;

use crate::{
    chat::{self, BODY},
    floor::sqlite::{self, Database},
    load::{Caller, Load},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    system::{System, channel},
};

const ROUNDS: u32 = 3;
const BATCH: &str = "MINGLE_CHAT__APPEND_BATCH";

/// How many send, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Sends in flight.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    senders: u32,
    /// Rooms that they spread over.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    rooms: u32,
    /// HTTP/2 connections that they share.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Of each run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
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

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("sends", "bare commits of the same rows, by one writer");
    let Args { senders, rooms, connections, .. } = args;
    let load = format!("closed loop, {senders} senders, {rooms} rooms, {connections} connections");
    report.set("load", format!("{load}, {} bytes each", BODY.len()));
    for round in 1..=plan.rounds(ROUNDS) {
        for (name, group) in [("grouped", sqlite::GROUP), ("one by one", 1)] {
            let system = System::start(plan, &[(BATCH, &group.to_string())]).await?;
            if round == 1 && group > 1 {
                settings::describe(&mut report, plan, &system).await?;
            }
            eprintln!("sends, round {round}, {name}: Ours");
            let callers = callers(&system, args).await?;
            let time = Duration::from_secs(args.seconds);
            let load = Load::run(callers, time, || system.cpu()).await?;
            load.report(&mut report, Side::Ours, (name, "sends/s"));
            let database = Database::open(plan, &system.database(), &["chat_log"]).await?;
            system.stop().await?;
            eprintln!("sends, round {round}, {name}: Floor");
            commit(&mut report, database, args, (name, group)).await?;
        }
    }
    Ok(report)
}

async fn callers(system: &System, args: &Args) -> anyhow::Result<Vec<Sender>> {
    let addr = system.grpc()?;
    let channels = try_join_all((0..args.connections).map(|_| channel(addr))).await?;
    let clients: Vec<_> = channels.into_iter().map(ChatServiceClient::new).collect();
    let rooms = chat::rooms(&mut clients[0].clone(), args.rooms).await?;
    let senders = (0..args.senders).zip(clients.iter().cycle()).map(|(number, chat)| {
        let pair = number % args.rooms;
        let [ann, bob] = chat::members(pair);
        let actor = if (number / args.rooms).is_multiple_of(2) { ann } else { bob };
        let room_id = rooms[pair as usize].clone();
        Sender { chat: chat.clone(), actor, room_id, number, sent: 0 }
    });
    Ok(senders.collect())
}

/// Rows a second, `group` to a transaction, and what each costs this process.
async fn commit(
    report: &mut Report,
    mut database: Database,
    args: &Args,
    (name, group): (&str, usize),
) -> anyhow::Result<()> {
    let (start, time) = (Instant::now(), Duration::from_secs(args.seconds));
    let cpu = proc::cpu(process::id())?;
    let mut rows = 0;
    while start.elapsed() < time {
        let next = rows..rows + group as u64;
        let batch = next.map(|n| sqlite::message(n % u64::from(args.rooms), n, BODY));
        database.commit(sqlite::MESSAGE, batch.collect()).await?;
        rows += group as u64;
    }
    let (took, count) = (start.elapsed(), rows as f64);
    let cpu = proc::cpu(process::id())?.saturating_sub(cpu).as_secs_f64() * 1e6 / count;
    report.add(&format!("{name}: server CPU each"), "µs", Side::Floor, cpu);
    let rate = count / took.as_secs_f64();
    report.add(&format!("{name}: throughput"), "sends/s", Side::Floor, rate);
    Ok(())
}
