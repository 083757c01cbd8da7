//! What it costs to doubt: every followed room at once, as when the bus may
//! have lost something, or the database does not say where rooms stand.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use mingle_chat::{
    Config,
    domain::{Intent, Kind, Wish},
    fanout::Settings,
    store::{Options, Store},
};
use mingle_proto::chat::v1::subscribe_response::Event as Told;
use mingle_runtime::{Context, config::Section as _};
use mingle_store::bus::{Announcement, Delivery};
use mingle_testkit::eventually;

use crate::{
    between::{self, UNAIDED},
    bus::Counting,
    conformance::{message, new_room},
    reader::Reader,
    stage::{Client, Nobody, Stage},
};

const PATIENCE: Duration = Duration::from_secs(60);
const ROOMS: usize = 200;
/// More than a subscription holds.
const FLOOD: usize = 1100;
/// Rooms whose logs are read at the same time.
const REPAIRS: usize = 4;

fn context() -> Context {
    Context::for_test(&[Config::DEFAULTS], "")
}

/// A store that tells nobody.
async fn silent(stage: &Stage) -> Arc<dyn Store> {
    let options = Options { append_batch: 1, max_members: 10 };
    stage.store_with(stage.clock.clone(), Arc::new(Nobody), options).await
}

async fn pairs(store: &dyn Store, count: usize) -> Vec<String> {
    let mut rooms = Vec::new();
    for _ in 0..count {
        let room_id = uuid::Uuid::now_v7().to_string();
        let intent = Intent::Create(new_room(Kind::Pair, &["ann", "bob"], None));
        write(store, &room_id, intent).await;
        rooms.push(room_id);
    }
    rooms
}

async fn write(store: &dyn Store, room_id: &str, intent: Intent) {
    let wish = Wish { room_id: room_id.to_owned(), intent, trace_id: String::new() };
    store.write(wish, String::new()).await.unwrap().unwrap();
}

/// Many rooms, and one who follows them all.
async fn followed(store: &dyn Store, client: Client) -> (Vec<String>, Reader) {
    let rooms = pairs(store, ROOMS).await;
    let mut reader = Reader::open(client, "bob").await;
    for room in &rooms {
        reader.opened(room).await;
    }
    (rooms, reader)
}

/// Every one of `rooms` has a gap: more copies at once of something that this
/// process said itself than a subscription holds.
async fn gap_everywhere(stage: &Stage, store: &dyn Store, rooms: &[String]) {
    let said = pairs(store, 1).await.remove(0);
    let mut tap = stage.bus.subscribe(&format!("chat:room:{said}")).await.unwrap();
    write(store, &said, message("ann", "k", "heard")).await;
    let Some(Delivery::Message(copy)) = tap.recv().await else { panic!("an announcement") };
    for room in rooms {
        let copies = vec![Announcement::new(format!("chat:room:{room}"), copy.clone()); FLOOD];
        stage.bus.publish(&copies).await.unwrap();
    }
}

/// Reads until each of `rooms` told its third event.
async fn told(reader: &mut Reader, rooms: &[String]) {
    let mut awaited: HashSet<&String> = rooms.iter().collect();
    while !awaited.is_empty() {
        let answer = reader.next().await;
        let Some(Told::Events(events)) = answer.event else { panic!("{answer:?}") };
        assert_eq!((events.events.len(), events.events[0].seq), (1, 3));
        assert!(awaited.remove(&answer.room_id));
    }
}

#[tokio::test]
async fn a_gap_of_every_room_is_a_few_comparisons_and_a_read_of_who_is_behind() {
    let (stage, ctx) = (Stage::new().await, context());
    let (between, client) = between::serve(&stage, &ctx, UNAIDED).await;
    let (rooms, mut reader) = followed(&*between.store, client).await;
    let behind = [rooms[0].clone(), rooms[ROOMS - 1].clone()];
    let silent = silent(&stage).await;
    for room in &behind {
        write(&*silent, room, message("ann", "k", "unheard")).await;
    }
    let (heads, compared) = (between.heads.load(SeqCst), between.compared.load(SeqCst));
    gap_everywhere(&stage, &*between.store, &rooms).await;
    told(&mut reader, &behind).await;
    eventually(PATIENCE, "every room was looked at", async || {
        between.compared.load(SeqCst) - compared + between.ranges.load(SeqCst) >= ROOMS
    })
    .await;
    assert_eq!(between.ranges.load(SeqCst), behind.len(), "logs that were read");
    let heads = between.heads.load(SeqCst) - heads;
    assert!((1..=ROOMS / 10).contains(&heads), "{heads} comparisons");
}

#[tokio::test]
async fn rooms_that_are_all_behind_are_read_a_few_at_a_time() {
    let (stage, ctx) = (Stage::new().await, context());
    let (between, client) = between::serve(&stage, &ctx, UNAIDED).await;
    let (rooms, mut reader) = followed(&*between.store, client).await;
    let silent = silent(&stage).await;
    for room in &rooms {
        write(&*silent, room, message("ann", "k", "unheard")).await;
    }
    gap_everywhere(&stage, &*between.store, &rooms).await;
    told(&mut reader, &rooms).await;
    assert_eq!(between.ranges.load(SeqCst), ROOMS);
    let crowd = between.crowd.load(SeqCst);
    assert!((2..=REPAIRS).contains(&crowd), "{crowd} at once");
}

#[tokio::test]
async fn rooms_whose_heads_cannot_be_read_are_subscribed_to_once() {
    const FEW: usize = 20;
    let bus = Arc::new(Counting::default());
    let stage = Stage { bus: bus.clone(), ..Stage::new().await };
    let ctx = context();
    let (between, client) = between::serve(&stage, &ctx, UNAIDED).await;
    let rooms = pairs(&*between.store, FEW).await;
    between.headless.store(true, SeqCst);
    let mut reader = Reader::open(client, "bob").await;
    for room in &rooms {
        reader.add(room).await;
    }
    eventually(PATIENCE, "tries", async || {
        bus.subscribed.load(SeqCst) >= FEW && between.heads.load(SeqCst) >= 6
    })
    .await;
    assert_eq!(bus.subscribed.load(SeqCst), FEW, "one each, however often heads are asked for");
    between.headless.store(false, SeqCst);
    for _ in &rooms {
        let answer = reader.next().await;
        assert!(matches!(answer.event, Some(Told::Opened(_))), "{answer:?}");
    }
    for room in &rooms {
        write(&*between.store, room, message("ann", "k", "live")).await;
    }
    told(&mut reader, &rooms).await;
    assert_eq!(bus.subscribed.load(SeqCst), FEW);
}

#[tokio::test]
async fn what_is_said_while_heads_are_compared_is_no_reason_to_doubt() {
    let (stage, ctx) = (Stage::new().await, context());
    let settings = Settings { heads: Duration::from_millis(20), ..UNAIDED };
    let (between, client) = between::serve(&stage, &ctx, settings).await;
    let rooms = pairs(&*between.store, 1).await;
    let mut reader = Reader::open(client, "bob").await;
    reader.opened(&rooms[0]).await;
    between.interruption.plan(&between.store, &rooms[0]);
    told(&mut reader, &rooms).await;
    assert!(between.interruption.happened());
    let heads = between.heads.load(SeqCst);
    eventually(PATIENCE, "two more comparisons", async || between.heads.load(SeqCst) > heads + 2)
        .await;
    assert_eq!((between.replays.load(SeqCst), between.ranges.load(SeqCst)), (0, 0));
}

/// A row that cannot be read is one room's damage.
#[tokio::test]
async fn a_damaged_head_stops_no_other_room() {
    let (stage, ctx) = (Stage::new().await, context());
    let (between, client) = between::serve(&stage, &ctx, UNAIDED).await;
    let mut rooms = pairs(&*between.store, 5).await;
    let damaged = rooms.remove(0);
    *between.damaged.lock().unwrap() = Some(damaged.clone());
    let mut reader = Reader::open(client, "bob").await;
    for room in [&damaged].into_iter().chain(&rooms) {
        reader.add(room).await;
    }
    for _ in &rooms {
        let answer = reader.next().await;
        assert!(matches!(answer.event, Some(Told::Opened(_))), "{answer:?}");
        assert_ne!(answer.room_id, damaged);
    }
    // It is mended, and damaged again when all have a gap.
    *between.damaged.lock().unwrap() = None;
    let answer = reader.next().await;
    assert!(matches!(answer.event, Some(Told::Opened(_))), "{answer:?}");
    *between.damaged.lock().unwrap() = Some(damaged.clone());
    let silent = silent(&stage).await;
    for room in &rooms {
        write(&*silent, room, message("ann", "k", "unheard")).await;
    }
    let all: Vec<_> = [damaged].into_iter().chain(rooms.clone()).collect();
    gap_everywhere(&stage, &*between.store, &all).await;
    told(&mut reader, &rooms).await;
}
