//! `cache-history`: pages of rooms that can no longer change, read from chat by index and
//! from the memory of a cache process, each beside a bare tonic call. Chat that read them
//! from the cache would cost a bare call, what the cache costs, and the call of that.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use mingle_proto::{
    cache::v1::{
        Entry, GetRequest, Outcome, SetRequest, Value, cache_service_client::CacheServiceClient,
    },
    chat::v1::{
        CreateRoomRequest, HistoryRequest, RoomKind, SendRequest,
        chat_service_client::ChatServiceClient,
    },
    presence::v1::{self, presence_service_client::PresenceServiceClient},
};
use prost::Message as _;
use tonic::transport::Channel;

use crate::{
    floor,
    load::{Caller, Load},
    meters::Meter,
    plan::Plan,
    processes::Processes,
    report::{Report, Side},
    system::channel,
};

const ROUNDS: u32 = 3;
const WARM_UP: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "default";
const ACTOR: &str = "reader";
const MESSAGES: u64 = 60;
const PAGE: u32 = 50;

/// How many read, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Calls in flight.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    callers: u32,
    /// Rooms that they read, of each a page.
    #[arg(long, default_value_t = 200)]
    rooms: usize,
    /// Of each run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Clone, Copy)]
enum From {
    Chat,
    Cache,
    Echo,
}

#[derive(Clone)]
struct Reader {
    from: From,
    channel: Channel,
    rooms: Vec<String>,
}

impl Caller for Reader {
    async fn call(&mut self) -> anyhow::Result<()> {
        let room = self.rooms[rand::random_range(0..self.rooms.len())].clone();
        match self.from {
            From::Chat => {
                let mut chat = ChatServiceClient::new(self.channel.clone());
                let page = chat.history(page(room)).await?.into_inner();
                ensure!(page.messages.len() == PAGE as usize, "not a whole page");
            }
            From::Cache => {
                let mut cache = CacheServiceClient::new(self.channel.clone());
                let namespace = NAMESPACE.to_owned();
                let get = GetRequest { namespace, key: room, ..GetRequest::default() };
                let read = cache.get(get).await?.into_inner();
                ensure!(read.outcome() == Outcome::Hit, "{:?}", read.outcome());
            }
            From::Echo => {
                let user_id = "somebody".to_owned();
                let mut floor = PresenceServiceClient::new(self.channel.clone());
                floor.get(v1::GetRequest { user_id }).await?;
            }
        }
        Ok(())
    }
}

fn page(room_id: String) -> HistoryRequest {
    HistoryRequest { actor: ACTOR.to_owned(), room_id, before: MESSAGES, limit: PAGE }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("cache-history", "a bare tonic call");
    let Args { callers, rooms, seconds } = *args;
    report.set("load", format!("closed loop, {callers} callers, {rooms} rooms, pages of {PAGE}"));
    let processes = Processes::start(plan, &[]).await?;
    processes.describe(&mut report, plan).await?;
    let first = |role| processes.grpc(role).first().copied().context("no such process");
    let chat = channel(first("chat")?).await?;
    let cache = channel(first("cache")?).await?;
    let rooms = fill(&mut report, &chat, &cache, rooms).await?;
    let floor = floor::Server::start(plan, &["floor-echo"]).await?;
    let echo = channel(floor.addr()?).await?;
    let mut meters = processes.meters()?.0;
    meters.push(Meter { name: "floor", counted: false, pids: vec![floor.pid()] });
    let run = async |from, channel: &Channel, meter: &str, time| {
        let reader = Reader { from, channel: channel.clone(), rooms: rooms.clone() };
        let of: Vec<_> = meters
            .iter()
            .filter(|of| of.name == meter || (meter == "chat" && of.name == "postgres"))
            .collect();
        let cpu = || of.iter().map(|meter| meter.read()).sum();
        Load::run(vec![reader; callers as usize], time, cpu).await
    };
    let sources =
        [(From::Chat, &chat, "chat"), (From::Cache, &cache, "cache"), (From::Echo, &echo, "floor")];
    for (from, channel, meter) in sources {
        run(from, channel, meter, WARM_UP).await?;
    }
    for round in 1..=plan.rounds(ROUNDS) {
        eprintln!("cache-history, round {round}");
        let time = Duration::from_secs(seconds);
        let echo = run(From::Echo, &echo, "floor", time).await?;
        for (from, channel, meter) in &sources[..2] {
            let load = run(*from, channel, meter, time).await?;
            let name = format!("a page from {meter}");
            load.report(&mut report, Side::Ours, (&name, "1/s"));
            echo.report(&mut report, Side::Floor, (&name, "1/s"));
        }
    }
    floor.stop().await?;
    Ok(report)
}

/// Makes rooms and says something in them; keeps a page of each in the cache.
async fn fill(
    report: &mut Report,
    chat: &Channel,
    cache: &Channel,
    rooms: usize,
) -> anyhow::Result<Vec<String>> {
    let (mut chat, mut cache) =
        (ChatServiceClient::new(chat.clone()), CacheServiceClient::new(cache.clone()));
    let (mut made, mut bytes) = (Vec::new(), 0);
    for number in 0..rooms {
        let request = CreateRoomRequest {
            actor: ACTOR.to_owned(),
            kind: RoomKind::Channel.into(),
            name: format!("room {number}"),
            ..CreateRoomRequest::default()
        };
        let room = chat.create_room(request).await?.into_inner().room.context("no room")?;
        let said = (0..MESSAGES).map(|message| {
            let (mut chat, actor, room_id) = (chat.clone(), ACTOR.to_owned(), room.room_id.clone());
            let (client_msg_id, body) = (message.to_string(), crate::chat::BODY.to_owned());
            async move {
                let send =
                    SendRequest { actor, room_id, client_msg_id, body, ..SendRequest::default() };
                chat.send(send).await
            }
        });
        futures::future::try_join_all(said).await?;
        let page = chat.history(page(room.room_id.clone())).await?.into_inner();
        let data = page.encode_to_vec();
        bytes = data.len();
        let (namespace, value) = (NAMESPACE.to_owned(), Value { data, ..Value::default() });
        let entry = Entry { key: room.room_id.clone(), value: Some(value), ..Entry::default() };
        let set = SetRequest { namespace, entry: Some(entry), ..SetRequest::default() };
        ensure!(!cache.set(set).await?.into_inner().degraded, "not stored");
        made.push(room.room_id);
    }
    report.set("page", format!("{bytes} bytes as it is kept"));
    Ok(made)
}
