//! `chat`: messages at a rate between pairs, beside the same INSERT in group
//! commit and, over several processes, bare hops.

use std::{net::SocketAddr, process, sync::Arc, time::Duration};

use anyhow::Context as _;
use mingle_client::ws::proto::{
    ClientFrame, RoomJoin, Send, ServerFrame, client_frame, server_frame::Kind,
};
use mingle_proto::chat::v1::{CreateRoomRequest, RoomKind, chat_service_client::ChatServiceClient};
use tonic::transport::Channel;

use crate::{
    floor::{
        hops::{self, Crowd, Hops},
        postgres,
        rows::{self, GROUP, Row, Writer},
        sqlite,
    },
    latency::Latencies,
    meters::{self, Meters},
    pace::{Rate, Schedule},
    plan::Plan,
    proc,
    processes::Processes,
    report::{Report, Side},
    settings,
    sockets::{self, Driven, Progress},
    system::{System, channel},
};

const ROUNDS: u32 = 3;
const CPU: &str = "server CPU per message";
/// After the last message was due.
const PATIENCE: Duration = Duration::from_secs(30);
/// What people type.
pub(crate) const BODY: &str = "so what did you do then, all alone in the middle of the night?";
const SENT: &str = "send to sent";
const DELIVERED: &str = "send to the other's message";

/// The load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Messages a second, over all pairs.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Of each run.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Rooms of two sockets each, who speak in turn.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=9000))]
    pairs: u32,
    /// Over several processes on Redis and PostgreSQL; the two of each room on
    /// different gateways.
    #[arg(long)]
    processes: bool,
}

impl Args {
    fn rate(&self) -> Rate {
        Rate { rate: self.rate, count: u64::from(self.rate) * u64::from(self.seconds) }
    }

    /// Everybody, those of a room after each other.
    fn users(&self) -> Vec<String> {
        (0..self.pairs).flat_map(members).collect()
    }
}

/// Where it is said, and whose CPU time that takes.
struct Place {
    urls: Vec<String>,
    chat: SocketAddr,
    meters: Meters,
}

/// What the sockets of one run see. A message's key is its index.
struct Seen {
    schedule: Schedule,
    progress: Arc<Progress>,
    sent: Latencies,
    delivered: Latencies,
}

impl Seen {
    fn frame(&self, user: &str, frame: ServerFrame) {
        match (frame.id, frame.kind) {
            (Some(id), Some(Kind::Sent(_))) => {
                self.sent.record(self.schedule.since(u64::from(id)));
                self.progress.done();
            }
            (None, Some(Kind::Message(message))) if message.sender_id != user => {
                match message.client_msg_id.parse() {
                    Ok(index) => self.delivered.record(self.schedule.since(index)),
                    Err(_) => self.progress.fail(format!("a foreign message: {message:?}")),
                }
                self.progress.done();
            }
            (_, Some(kind @ (Kind::Error(_) | Kind::Gap(_)))) => {
                self.progress.fail(format!("a socket was told {kind:?}"));
            }
            _ => {}
        }
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("chat", "the INSERT of the message in group commit, bare");
    let Args { rate, seconds, pairs, processes } = args;
    let load = format!("open loop, {rate} messages/s for {seconds} s over {pairs} pairs");
    report.set("load", format!("{load}, {} bytes each", BODY.len()));
    for round in 1..=plan.rounds(ROUNDS) {
        if *processes {
            apart(&mut report, plan, args, round).await?;
        } else {
            whole(&mut report, plan, args, round).await?;
        }
    }
    Ok(report)
}

/// In one process, on SQLite.
async fn whole(report: &mut Report, plan: &Plan, args: &Args, round: u32) -> anyhow::Result<()> {
    let system = System::start(plan, &[]).await?;
    if round == 1 {
        settings::describe(report, plan, &system).await?;
    }
    eprintln!("chat, round {round}: Ours");
    let place = Place { urls: vec![system.url()?], chat: system.grpc()?, meters: system.meters() };
    talk(report, &place, args).await?;
    let database = sqlite::Database::open(plan, &system.database(), &["chat_log"]).await?;
    system.stop().await?;
    eprintln!("chat, round {round}: Floor");
    let cpu = proc::cpu(process::id())?;
    insert(report, database, args).await?;
    let cpu = proc::cpu(process::id())?.saturating_sub(cpu);
    // With the generator's own, which runs in this process too.
    report.add(CPU, "µs", Side::Floor, cpu.as_secs_f64() * 1e6 / args.rate().count as f64);
    Ok(())
}

/// Over several processes, on Redis and PostgreSQL.
async fn apart(report: &mut Report, plan: &Plan, args: &Args, round: u32) -> anyhow::Result<()> {
    let mut processes = Processes::start(plan, &[]).await?;
    if round == 1 {
        processes.describe(report, plan).await?;
        report.set("floor of CPU", Hops::TELLS);
    }
    eprintln!("chat, round {round}: Ours");
    let chat = *processes.grpc("chat").first().context("no chat")?;
    let place = Place { urls: processes.urls(), chat, meters: processes.meters()? };
    talk(report, &place, args).await?;
    processes.kill();
    eprintln!("chat, round {round}: Floor");
    let writers = postgres::Database::open(processes.database(), Row::Message, 1).await?;
    let meter = processes.postgres_meter()?;
    let cpu = meter.read()?;
    for writer in writers {
        insert(report, writer, args).await?;
    }
    let cpu = meter.read()?.saturating_sub(cpu).as_secs_f64() * 1e6 / args.rate().count as f64;
    report.add(&meters::of(CPU, meter.name), "µs", Side::Floor, cpu);
    let pairs = u64::from(args.pairs);
    let crowd = Crowd { sockets: 2 * pairs, speaker: Box::new(move |n| speaker(n, pairs).1) };
    let redis = (redis::Client::open(processes.redis().root_url())?, &processes.redis_meter());
    let hops = hops::measure(plan, report, (args.rate(), crowd, BODY), redis).await?;
    hops.report(report, CPU, &[("chat", 1.0), ("ratelimit", 1.0)]);
    Ok(())
}

async fn talk(report: &mut Report, place: &Place, args: &Args) -> anyhow::Result<()> {
    let mut chat = ChatServiceClient::new(channel(place.chat).await?);
    let rooms = rooms(&mut chat, args.pairs).await?;
    let users = args.users();
    let mut connected = sockets::connect(&place.urls, &users).await?;
    for (index, socket) in connected.iter_mut().enumerate() {
        let join = RoomJoin { room_id: rooms[index / 2].clone(), after: None };
        let reply = sockets::ask(socket, client_frame::Kind::RoomJoin(join)).await?;
        anyhow::ensure!(matches!(reply, Kind::Room(_)), "roomJoin was answered by {reply:?}");
    }
    eprintln!("  {} sockets are in their rooms", connected.len());
    let schedule = Schedule::new(args.rate());
    let progress = Arc::new(Progress::default());
    let (sent, delivered) = (Latencies::new()?, Latencies::new()?);
    let seen = Arc::new(Seen { schedule, progress: progress.clone(), sent, delivered });
    let driven = users.into_iter().zip(connected).map(|(user, socket)| {
        let seen = seen.clone();
        Driven::new(socket, progress.clone(), move |frame| seen.frame(&user, frame))
    });
    let driven: Vec<_> = driven.collect();
    let frames: Vec<_> = driven.iter().map(Driven::frames).collect();
    let cpu = place.meters.read()?;
    let late = schedule.run(move |index| {
        let (room, socket) = speaker(index, rooms.len() as u64);
        // A socket that ended says so itself.
        let _ = frames[socket as usize].blocking_send(request(index, &rooms[room as usize]));
    });
    let late = late.await?;
    // Each is acknowledged and delivered.
    let count = args.rate().count;
    progress.wait(2 * count, PATIENCE).await?;
    place.meters.report(report, Side::Ours, &cpu, (CPU, count))?;
    seen.sent.report(report, Side::Ours, SENT);
    seen.delivered.report(report, Side::Ours, DELIVERED);
    late.report(report, Side::Ours, "generator late by");
    Ok(())
}

/// The room and the socket of message `index`: all rooms in turn, then the
/// other side of each.
fn speaker(index: u64, rooms: u64) -> (u64, u64) {
    let room = index % rooms;
    (room, 2 * room + index / rooms % 2)
}

fn request(index: u64, room_id: &str) -> ClientFrame {
    let send = Send {
        room_id: room_id.to_owned(),
        client_msg_id: index.to_string(),
        body: BODY.to_owned(),
        ..Send::default()
    };
    // More messages than ids would be days of them.
    ClientFrame {
        id: index as u32,
        kind: Some(client_frame::Kind::Send(send)),
        ..ClientFrame::default()
    }
}

/// The users of a room.
pub(crate) fn members(pair: u32) -> [String; 2] {
    [format!("ann-{pair}"), format!("bob-{pair}")]
}

/// Makes rooms of two.
pub(crate) async fn rooms(
    chat: &mut ChatServiceClient<Channel>,
    pairs: u32,
) -> anyhow::Result<Vec<String>> {
    let mut rooms = Vec::new();
    for pair in 0..pairs {
        let [ann, bob] = members(pair);
        let request = CreateRoomRequest {
            actor: ann.clone(),
            kind: RoomKind::Direct.into(),
            member_ids: vec![ann, bob],
            ..CreateRoomRequest::default()
        };
        let room = chat.create_room(request).await?.into_inner().room.context("no room")?;
        rooms.push(room.room_id);
    }
    Ok(rooms)
}

/// The same messages as bare rows.
async fn insert(report: &mut Report, writer: impl Writer, args: &Args) -> anyhow::Result<()> {
    let pairs = u64::from(args.pairs);
    let message = move |index| rows::message(index % pairs, index, BODY);
    let inserted = rows::insert(writer, args.rate(), GROUP, (Row::Message, message)).await?;
    inserted.took.report(report, Side::Floor, SENT);
    inserted.took.report(report, Side::Floor, DELIVERED);
    inserted.late.report(report, Side::Floor, "generator late by");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::speaker;

    #[test]
    fn rooms_take_turns_and_so_do_their_two() {
        let speakers: Vec<_> = (0..6).map(|index| speaker(index, 2)).collect();
        assert_eq!(speakers, [(0, 0), (1, 2), (0, 1), (1, 3), (0, 0), (1, 2)]);
    }
}
