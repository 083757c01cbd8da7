//! `slow`: what those who read notice of those who do not: the same rooms at
//! the same rate with sockets in them that read nothing, and without.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mingle_client::ws::{
    Dial, Encoding, Incoming, Socket,
    proto::{ClientFrame, RoomJoin, Send, ServerFrame, client_frame, server_frame::Kind},
};
use mingle_proto::chat::v1::{CreateRoomRequest, RoomKind, chat_service_client::ChatServiceClient};

use tokio::{net::TcpSocket, time::timeout};
use tokio_tungstenite::tungstenite::http::Uri;

use crate::{
    latency::Latencies,
    pace::{Rate, Schedule},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    sockets::{self, CONNECTING, Driven, Progress},
    system::{System, channel},
};

const ROUNDS: u32 = 3;
/// Listeners of one room, which is made with a hundred members at most.
const LISTENERS: u32 = 99;
/// After the last message was due.
const PATIENCE: Duration = Duration::from_secs(60);
/// Silence after which a socket that was not read is not ended.
const SILENCE: Duration = Duration::from_secs(2);
/// What the kernel holds for a socket that is not read, in bytes.
const NARROW: u32 = 4096;
const STALLED: &str = "stalled";
const DELIVERED: &str = "send to a reader's message";

/// The load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Sockets that read.
    #[arg(long, default_value_t = 2500, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    readers: u32,
    /// Sockets that do not.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=3000))]
    stalled: u32,
    /// Messages a second, over all rooms of about a hundred.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Bytes of each.
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u32).range(1..=8192))]
    bytes: u32,
    /// Of each run.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// What may wait for one socket, in KiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(64..=4096))]
    outbound: u32,
}

impl Args {
    fn rate(&self) -> Rate {
        Rate { rate: self.rate, count: u64::from(self.rate) * u64::from(self.seconds) }
    }

    fn rooms(&self) -> u32 {
        (self.readers + self.stalled).div_ceil(LISTENERS)
    }

    /// Everybody of a room: who speaks, who reads, who does not.
    fn members(&self, room: u32) -> Vec<String> {
        let listeners = |kind: &'static str, count: u32| {
            let of_room = (0..count).filter(move |n| n % self.rooms() == room);
            of_room.map(move |n| format!("{kind}-{n}"))
        };
        let speaker = std::iter::once(format!("speaker-{room}"));
        let readers = listeners("reader", self.readers);
        speaker.chain(readers).chain(listeners(STALLED, self.stalled)).collect()
    }
}

/// What the readers see. A message's key is its index.
struct Seen {
    schedule: Schedule,
    progress: Arc<Progress>,
    delivered: Latencies,
}

impl Seen {
    fn frame(&self, frame: ServerFrame) {
        match frame.kind {
            Some(Kind::Message(message)) => {
                match message.client_msg_id.parse() {
                    Ok(index) => self.delivered.record(self.schedule.since(index)),
                    Err(_) => self.progress.fail(format!("a foreign message: {message:?}")),
                }
                self.progress.done();
            }
            Some(kind @ (Kind::Error(_) | Kind::Gap(_))) => {
                self.progress.fail(format!("a socket was told {kind:?}"));
            }
            _ => {}
        }
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("slow", "the same without the sockets that read nothing");
    let Args { rate, seconds, bytes, readers, stalled, .. } = args;
    let load = format!("open loop, {rate} messages/s of {bytes} bytes for {seconds} s");
    report.set("load", format!("{load} over {} rooms", args.rooms()));
    report.set("sockets", format!("{readers} that read and {stalled} that do not, protobuf"));
    report.set("bound of a socket", format!("{} KiB", args.outbound));
    for round in 1..=plan.rounds(ROUNDS) {
        for side in [Side::Ours, Side::Floor] {
            eprintln!("slow, round {round}: {side:?}");
            let bound = (args.outbound * 1024).to_string();
            let bound = ("MINGLE_GATEWAY__LIMITS__OUTBOUND_BYTES", bound.as_str());
            let system = System::start(plan, &[bound]).await?;
            if round == 1 && side == Side::Ours {
                settings::describe(&mut report, plan, &system).await?;
            }
            run(&mut report, &system, side, args).await?;
            system.stop().await?;
        }
    }
    Ok(report)
}

async fn run(report: &mut Report, system: &System, side: Side, args: &Args) -> anyhow::Result<()> {
    let rooms = make_rooms(system, args).await?;
    let speakers = enter(system, "speaker", args.rooms(), &rooms).await?;
    let readers = enter(system, "reader", args.readers, &rooms).await?;
    let stalled = if side == Side::Ours { args.stalled } else { 0 };
    let stalled = enter(system, STALLED, stalled, &rooms).await?;
    eprintln!("  {} sockets are in their rooms", speakers.len() + readers.len() + stalled.len());

    let (schedule, progress) = (Schedule::new(args.rate()), Arc::new(Progress::default()));
    let delivered = Latencies::new()?;
    let seen = Arc::new(Seen { schedule, progress: progress.clone(), delivered });
    let drive = |socket| {
        let seen = seen.clone();
        Driven::new(socket, progress.clone(), move |frame| seen.frame(frame))
    };
    // Speakers hear themselves: what they see counts as a reader's.
    let listening: Vec<_> = readers.into_iter().map(drive).collect();
    let speaking: Vec<_> = speakers.into_iter().map(drive).collect();
    let frames: Vec<_> = speaking.iter().map(Driven::frames).collect();
    let (resident, cpu) = (proc::resident(system.pid())?, proc::cpu(system.pid())?);
    let body = "x".repeat(args.bytes as usize);
    let late = schedule.run(move |index| {
        let room = (index % rooms.len() as u64) as usize;
        // A socket that ended says so itself.
        let _ = frames[room].blocking_send(request(index, &rooms[room], &body));
    });
    let late = late.await?;
    let grown = proc::resident(system.pid())?.saturating_sub(resident);
    let deliveries = deliveries(args);
    progress.wait(deliveries, PATIENCE).await?;
    let cpu = proc::cpu(system.pid())?.saturating_sub(cpu).as_secs_f64() * 1e6;
    seen.delivered.report(report, side, DELIVERED);
    report.add("server CPU per delivery", "µs", side, cpu / deliveries as f64);
    report.add("resident memory grew by", "MiB", side, grown as f64 / 1024.0 / 1024.0);
    late.report(report, side, "generator late by");
    drop(listening);
    if side == Side::Ours {
        report.add("sockets that were ended", "", side, ended(stalled).await? as f64);
    }
    Ok(())
}

/// Messages that readers and speakers see.
fn deliveries(args: &Args) -> u64 {
    let rooms = u64::from(args.rooms());
    let of_room = |room: u64| {
        let messages = args.rate().count / rooms + u64::from(room < args.rate().count % rooms);
        let readers = u64::from(args.readers);
        messages * (1 + readers / rooms + u64::from(room < readers % rooms))
    };
    (0..rooms).map(of_room).sum()
}

async fn make_rooms(system: &System, args: &Args) -> anyhow::Result<Vec<String>> {
    let mut chat = ChatServiceClient::new(channel(system.grpc()?).await?);
    let mut rooms = Vec::new();
    for room in 0..args.rooms() {
        let members = args.members(room);
        let request = CreateRoomRequest {
            actor: members[0].clone(),
            kind: RoomKind::Channel.into(),
            name: format!("room {room}"),
            member_ids: members,
            ..CreateRoomRequest::default()
        };
        let room = chat.create_room(request).await?.into_inner().room.context("no room")?;
        rooms.push(room.room_id);
    }
    Ok(rooms)
}

/// Connects `count` of a kind, each in its room, in turn.
async fn enter(
    system: &System,
    kind: &str,
    count: u32,
    rooms: &[String],
) -> anyhow::Result<Vec<Socket>> {
    let users: Vec<_> = (0..count).map(|n| format!("{kind}-{n}")).collect();
    let url = system.url()?;
    let sockets = if kind == STALLED {
        let narrow = users.iter().map(|user| narrow(&url, user));
        stream::iter(narrow).buffered(CONNECTING).try_collect().await?
    } else {
        sockets::connect(&[url], &users).await?
    };
    let join = |(mut socket, room): (Socket, &String)| {
        let join = RoomJoin { room_id: room.clone(), after: None };
        async move {
            let reply = sockets::ask(&mut socket, client_frame::Kind::RoomJoin(join)).await?;
            ensure!(matches!(reply, Kind::Room(_)), "roomJoin was answered by {reply:?}");
            Ok(socket)
        }
    };
    let joining = sockets.into_iter().zip(rooms.iter().cycle()).map(join);
    stream::iter(joining).buffered(CONNECTING).try_collect().await
}

/// A socket whose kernel takes little on its behalf, so that what it does not
/// read is soon the server's to hold.
async fn narrow(url: &str, user: &str) -> anyhow::Result<Socket> {
    let uri: Uri = url.parse()?;
    let address = uri.authority().context("a URL without a host")?.as_str().parse()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(NARROW)?;
    let stream = socket.connect(address).await?;
    sockets::welcome(Dial::new(url, Encoding::Proto).over(stream).await?, user).await
}

fn request(index: u64, room_id: &str, body: &str) -> ClientFrame {
    let send = Send {
        room_id: room_id.to_owned(),
        client_msg_id: index.to_string(),
        body: body.to_owned(),
        ..Send::default()
    };
    // More messages than ids would be days of them.
    ClientFrame {
        id: index as u32,
        kind: Some(client_frame::Kind::Send(send)),
        ..ClientFrame::default()
    }
}

/// How many of the sockets the server ended: with its code, or without when
/// that was not taken in time either.
async fn ended(stalled: Vec<Socket>) -> anyhow::Result<usize> {
    let read = stalled.into_iter().map(|mut socket| async move {
        loop {
            match timeout(SILENCE, socket.next()).await {
                Ok(Ok(Incoming::Frame(_))) => {}
                Ok(Ok(Incoming::Closed(..))) => return Ok(1),
                Ok(Err(error)) => return Err(anyhow::Error::from(error)),
                Err(_) => return Ok(0),
            }
        }
    });
    stream::iter(read)
        .buffer_unordered(CONNECTING)
        .try_fold(0, async |sum, one| Ok(sum + one))
        .await
}

#[cfg(test)]
mod tests {
    use super::{Args, LISTENERS, deliveries};

    #[test]
    fn every_listener_has_a_room_and_every_message_its_readers() {
        let args = Args { readers: 250, stalled: 50, rate: 7, bytes: 1, seconds: 3, outbound: 64 };
        assert_eq!(args.rooms(), 4);
        let members: Vec<_> = (0..4).map(|room| args.members(room)).collect();
        assert_eq!(members.iter().map(Vec::len).sum::<usize>(), 4 + 250 + 50);
        assert!(members.iter().all(|of_room| of_room.len() <= LISTENERS as usize + 1));
        let readers = |room: usize| members[room].iter().filter(|it| it.starts_with("reader"));
        let expected: usize = (0..21).map(|index| 1 + readers(index % 4).count()).sum();
        assert_eq!(deliveries(&args), expected as u64);
    }
}
