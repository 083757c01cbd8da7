//! `rooms`: what is said in rooms of many, over several processes, beside a bare
//! WebSocket server that passes it on.

use crate::{
    crowd::{self, Bare, Load, Mingle, Site},
    floor,
    meters::{Meter, Meters},
    plan::Plan,
    processes::Processes,
    report::{Report, Side},
    system::channel,
};
use anyhow::Context as _;
use mingle_proto::chat::v1::{CreateRoomRequest, RoomKind, chat_service_client::ChatServiceClient};

const ROUNDS: u32 = 3;
/// A request names no more members; the others join as they enter.
const NAMED: usize = 100;

/// Measures.
pub(crate) async fn measure(plan: &Plan, load: &Load) -> anyhow::Result<Report> {
    load.check()?;
    let mut report = Report::new("rooms", "a bare WebSocket server that passes it on, one process");
    report.set("load", load.tells());
    for round in 1..=plan.rounds(ROUNDS) {
        eprintln!("rooms, round {round}: Ours");
        let processes = Processes::start(plan, &[]).await?;
        if round == 1 {
            processes.describe(&mut report, plan).await?;
        }
        crowd::run(&mut report, &site(&processes, load).await?, load, None).await?;
        drop(processes);
        eprintln!("rooms, round {round}: Floor");
        let server = floor::Server::start(plan, &["floor-rooms"]).await?;
        let meter = Meter { name: "floor", counted: true, pids: vec![server.pid()] };
        let site = Site {
            tongue: Bare,
            urls: vec![format!("ws://{}/", server.addr()?)],
            rooms: (0..load.rooms).map(|room| room.to_string()).collect(),
            meters: Meters(vec![meter]),
            side: Side::Floor,
        };
        crowd::run(&mut report, &site, load, None).await?;
        server.stop().await?;
    }
    Ok(report)
}

/// Mingle with the rooms of the load.
pub(crate) async fn site(processes: &Processes, load: &Load) -> anyhow::Result<Site<Mingle>> {
    let chat = *processes.grpc("chat").first().context("no chat")?;
    let mut chat = ChatServiceClient::new(channel(chat).await?);
    let mut rooms = Vec::new();
    for room in 0..load.rooms {
        let mut users = load.users(room);
        users.truncate(NAMED);
        let request = CreateRoomRequest {
            actor: users[0].clone(),
            kind: RoomKind::Channel.into(),
            name: format!("room {room}"),
            member_ids: users,
            ..CreateRoomRequest::default()
        };
        let room = chat.create_room(request).await?.into_inner().room.context("no room")?;
        rooms.push(room.room_id);
    }
    let (urls, meters) = (processes.urls(), processes.meters()?);
    Ok(Site { tongue: Mingle, urls, rooms, meters, side: Side::Ours })
}
