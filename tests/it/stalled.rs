//! Sockets that stop to read in the middle of what they are owed: whoever reads
//! is not held up by them, and they are owed it still.

use std::{collections::HashMap, fs, time::Duration};

use futures::{SinkExt as _, StreamExt as _, future::join_all};
use mingle_client::ws::{
    Encoding,
    proto::{ClientFrame, History, Position, RoomJoin, ServerFrame, client_frame::Kind},
};
use prost::Message as _;
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    slow::{Slow, doze},
    world::{SOON, World, logged, next_event},
};

/// Pages of missed events that the gateway reads at once.
const TURNS: &str = "2";
const STALLED: usize = 16;
/// Of a log: more than a page.
const MESSAGES: usize = 150;
const BODY: usize = 8 * 1024;
/// Of 256 KiB each: more than the kernel takes by itself for who does not read.
const PAGES: u32 = 40;
/// What the kernel may hold for one of them: the gateway's bound, and the write
/// that goes beyond it.
const KERNEL: u64 = 256 * 1024;
/// The request that asks for the first log from its start, behind a hello and a
/// join; the second one's is the next.
const FROM_START: u32 = 3;
/// Nothing was sent in so many looks.
const STILL: u32 = 8;
/// Much is written first, and read for them: on a busy disk that takes its time.
const STALLING: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_goes_live_while_many_are_stalled() {
    let builder = World::builder()
        .env("MINGLE_GATEWAY__LIMITS__REPLAYS_AT_ONCE", TURNS)
        // None of them is given up.
        .env("MINGLE_GATEWAY__LIMITS__DEAD_AFTER_MS", "600000");
    let world = World::from(builder).await;
    let rooms = [world.channel("ann").await, world.channel("ann").await];
    join_all(rooms.iter().map(|room| fill(&world, room))).await;
    let users: Vec<String> = (0..STALLED).map(|number| format!("stalled-{number}")).collect();
    let mut stalled = join_all(users.iter().map(|user| stall(&world, user, &rooms))).await;
    until_still(world.http().port()).await;

    let mut ann = world.client("ann", Encoding::Proto).await;
    let mut eve = world.client("eve", Encoding::Json).await;
    let head = eve.room_join(&rooms[0], Some(Position::default())).await.unwrap().head_seq;
    let mut at = 0;
    while at < head {
        let event = next_event(&mut eve).await.unwrap();
        let Some((_, position)) = logged(&event) else { continue };
        assert_eq!(position.seq, at + 1);
        at = position.seq;
    }
    ann.send(&rooms[0], "live", "live").await.unwrap();
    let event = next_event(&mut eve).await.unwrap();
    assert_eq!(logged(&event).unwrap().1.seq, head + 1);
    wake(stalled.pop().unwrap()).await;
}

async fn fill(world: &World, room: &str) {
    let mut ann = world.client("ann", Encoding::Proto).await;
    let body = "x".repeat(BODY);
    for number in 0..MESSAGES {
        ann.send(room, &number.to_string(), &body).await.unwrap();
    }
}

/// A socket that is owed two logs and many pages, and reads none of them.
async fn stall(world: &World, user: &str, rooms: &[String]) -> Slow {
    let mut socket = doze(world, user, &rooms[0]).await;
    let from_start = |room: &String| {
        let after = Some(Position::default());
        Kind::RoomJoin(RoomJoin { room_id: room.clone(), after })
    };
    let page = |_| Kind::History(History { room_id: rooms[0].clone(), before: 0, limit: 50 });
    let requests = rooms.iter().map(from_start).chain((0..PAGES).map(page));
    for (id, kind) in (FROM_START..).zip(requests) {
        let frame = ClientFrame { id, kind: Some(kind), ..ClientFrame::default() };
        socket.send(Message::binary(frame.encode_to_vec())).await.unwrap();
    }
    socket
}

/// Reads all that is owed: both logs without a hole, and every page.
async fn wake(mut socket: Slow) {
    let (mut places, mut pages) = (HashMap::<String, u64>::new(), 0);
    let is_short = |places: &HashMap<_, _>| {
        places.len() < 2 || places.values().any(|seq| *seq < MESSAGES as u64)
    };
    while pages < PAGES || is_short(&places) {
        let Ok(Some(Ok(message))) = timeout(SOON, socket.next()).await else {
            panic!("{pages} pages and {places:?} came, then nothing");
        };
        let Message::Binary(bytes) = message else { continue };
        let ServerFrame { id, kind } = ServerFrame::decode(bytes).unwrap();
        pages += u32::from(id.is_some_and(|id| id > FROM_START + 1));
        if id == Some(FROM_START) {
            places.clear();
        }
        let kind = kind.unwrap();
        let Some((room, position)) = logged(&kind) else { continue };
        // What came of the first join is live: it begins somewhere.
        let place = places.entry(room.to_owned()).or_insert(position.seq - 1);
        assert_eq!(position.seq, *place + 1, "of {room}");
        *place = position.seq;
    }
}

/// Waits until the kernel holds something for each of the stalled, and takes no
/// more.
async fn until_still(port: u16) {
    let (mut looks, mut last, mut still) = (interval(LOOK), Vec::new(), 0);
    let looking = async {
        while still < STILL {
            looks.tick().await;
            let now = unsent(port);
            still = if now.len() >= STALLED && now == last { still + 1 } else { 0 };
            last = now;
        }
    };
    assert!(timeout(STALLING, looking).await.is_ok(), "they were never stalled: {last:?}");
    eprintln!("the kernel holds {last:?} bytes for them");
    assert!(last.iter().all(|unsent| *unsent <= KERNEL), "what the kernel holds has no bound");
}

/// The bytes that the kernel holds for each peer of a port who does not take
/// them.
fn unsent(port: u16) -> Vec<u64> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let of_port = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, _, queues) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_it = local.ends_with(&format!(":{port:04X}"));
        let unsent = u64::from_str_radix(queues.split(':').next()?, 16).ok()?;
        (is_it && unsent > 0).then_some(unsent)
    };
    table.lines().filter_map(of_port).collect()
}
