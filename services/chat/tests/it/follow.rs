//! Subscribe: replay, then live, and not one event missing, whatever the bus
//! does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mingle_chat::{
    domain::{Answer, Intent, Wish},
    store::{Options, Store},
};
use mingle_proto::chat::v1::{
    CreateRoomRequest, MarkReadRequest, RoomKind, SendRequest, SetTypingRequest, signal,
    subscribe_response::Event as Told,
};
use mingle_store::bus::{Announcement, Delivery, Memory};
use mingle_testkit::eventually;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    bus::{Counting, Rough},
    conformance::message,
    reader::Reader,
    stage::{Client, Nobody, Process, Stage},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// The comparison of heads comes too late to help.
const NO_BACKSTOP: &str = "[chat]\nheads_ms = 600000";

async fn pair(client: &mut Client) -> String {
    let request = CreateRoomRequest {
        kind: RoomKind::Pair.into(),
        member_ids: vec!["ann".to_owned(), "bob".to_owned()],
        ..Default::default()
    };
    client.create_room(request).await.unwrap().into_inner().room.unwrap().room_id
}

async fn say(client: &mut Client, room_id: &str, key: &str) {
    let request = SendRequest {
        actor: "ann".to_owned(),
        room_id: room_id.to_owned(),
        client_msg_id: key.to_owned(),
        body: format!("{key}!"),
        ..Default::default()
    };
    client.send(request).await.unwrap();
}

/// A store that tells nobody: a process that died between commit and
/// announcement.
async fn silent(stage: &Stage) -> Arc<dyn Store> {
    let options = Options { append_batch: 1, max_members: 10 };
    stage.store_with(stage.clock.clone(), Arc::new(Nobody), options).await
}

async fn append(store: &dyn Store, room_id: &str, intent: Intent) -> u64 {
    let wish = Wish { room_id: room_id.to_owned(), intent, trace_id: String::new() };
    match store.write(wish, String::new()).await.unwrap().unwrap().answer {
        Answer::Sent(first) => first.position.seq,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_then_live_has_no_hole_wherever_one_joins() {
    const WRITERS: usize = 20;
    const SENDS: usize = 30;
    const LAST: u64 = 2 + (WRITERS * SENDS) as u64;
    let stage = Stage::new().await;
    let mut here = stage.serve("").await.client;
    let there = stage.serve("").await.client;
    let room = pair(&mut here).await;
    let said = watch::Sender::new(0_u64);
    let mut tasks = JoinSet::new();
    for n in 0..24_u64 {
        // Half of them in the process that commits, half in another.
        let client = if n % 2 == 0 { here.clone() } else { there.clone() };
        let (room, mut said) = (room.clone(), said.subscribe());
        tasks.spawn(async move {
            said.wait_for(|said| *said >= n * LAST / 30).await.unwrap();
            let mut reader = Reader::open(client, "bob").await;
            reader.follow(&room).await;
            let log = reader.live_until(&room, LAST).await;
            (reader.replayed, reader.live, log)
        });
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (mut client, room, said) = (here.clone(), room.clone(), said.clone());
        writers.spawn(async move {
            for n in 0..SENDS {
                say(&mut client, &room, &format!("{writer}-{n}")).await;
                said.send_modify(|said| *said += 1);
            }
        });
    }
    writers.join_all().await;
    let logs = tasks.join_all().await;
    let whole: Vec<_> = logs[0].2.clone();
    assert_eq!(whole.len() as u64, LAST);
    for (_, _, log) in &logs {
        assert_eq!(*log, whole);
    }
    let replayed: usize = logs.iter().map(|(replayed, _, _)| replayed).sum();
    let live: usize = logs.iter().map(|(_, live, _)| live).sum();
    assert!(replayed > 1000 && live > 1000, "both ways: {replayed} replayed, {live} live");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_drops_doubles_and_reorders_changes_nothing() {
    let stage = Stage::new().await;
    let bus = Arc::new(Rough::new(7));
    let quick = "[chat]\nheads_ms = 50\nhold_ms = 5";
    let mut here = stage.serve_on(bus.clone(), stage.clock.clone(), quick).await.client;
    let there = stage.serve_on(bus.clone(), stage.clock.clone(), quick).await.client;
    let room = pair(&mut here).await;
    let mut reader = Reader::open(there, "bob").await;
    reader.follow(&room).await;
    for n in 0..400 {
        say(&mut here, &room, &n.to_string()).await;
    }
    let log = reader.live_until(&room, 402).await;
    assert_eq!(log, reader.replay(&room).await, "what was told is what is kept");
    assert_eq!((reader.gaps, reader.live), (0, 400));
    let (dropped, doubled, reordered) = bus.mischief();
    assert!(dropped > 20 && doubled > 20 && reordered > 20, "{dropped} {doubled} {reordered}");
}

#[tokio::test]
async fn a_bus_that_is_away_costs_other_processes_time_only() {
    let stage = Stage::new().await;
    let bus = Arc::new(Rough::deaf());
    let serve = |overrides| stage.serve_on(bus.clone(), stage.clock.clone(), overrides);
    let mut here = serve(NO_BACKSTOP).await.client;
    let there = serve("[chat]\nheads_ms = 20").await.client;
    let room = pair(&mut here).await;
    let mut near = Reader::open(here.clone(), "bob").await;
    let mut far = Reader::open(there, "bob").await;
    near.follow(&room).await;
    far.follow(&room).await;
    say(&mut here, &room, "k").await;
    assert_eq!(near.live_until(&room, 3).await, far.live_until(&room, 3).await);
    eventually(PATIENCE, "the bus refused", async || bus.mischief().0 > 0).await;
}

#[tokio::test]
async fn an_event_that_nobody_announced_is_found_by_comparing_heads() {
    let stage = Stage::new().await;
    let mut client = stage.serve("[chat]\nheads_ms = 20").await.client;
    let room = pair(&mut client).await;
    let mut reader = Reader::open(client, "bob").await;
    reader.follow(&room).await;
    append(&*silent(&stage).await, &room, message("ann", "k", "unheard")).await;
    assert_eq!(reader.live_until(&room, 3).await.len(), 3);
}

#[tokio::test]
async fn a_retry_announces_what_its_first_try_did_not() {
    let stage = Stage::new().await;
    let mut here = stage.serve(NO_BACKSTOP).await.client;
    let there = stage.serve(NO_BACKSTOP).await.client;
    let room = pair(&mut here).await;
    let mut readers = [Reader::open(here.clone(), "bob").await, Reader::open(there, "bob").await];
    for reader in &mut readers {
        reader.follow(&room).await;
    }
    // The first try commits by a twin of the service whose board nobody sees.
    let elsewhere = Stage { bus: Arc::new(Memory::new()), ..stage };
    let mut dying = elsewhere.serve(NO_BACKSTOP).await.client;
    say(&mut dying, &room, "k").await;
    say(&mut here, &room, "k").await;
    for reader in &mut readers {
        let log = reader.live_until(&room, 3).await;
        assert_eq!(log, reader.replay(&room).await);
    }
}

#[tokio::test]
async fn a_gap_of_the_bus_is_filled_from_the_store() {
    let stage = Stage::new().await;
    let mut client = stage.serve(NO_BACKSTOP).await.client;
    let room = pair(&mut client).await;
    let topic = format!("chat:room:{room}");
    let mut tap = stage.bus.subscribe(&topic).await.unwrap();
    let mut reader = Reader::open(client.clone(), "bob").await;
    reader.follow(&room).await;
    say(&mut client, &room, "heard").await;
    let Some(Delivery::Message(copy)) = tap.recv().await else { panic!("an announcement") };
    let copy = Announcement::new(&topic, copy);
    assert_eq!(reader.live_until(&room, 3).await.len(), 3);
    append(&*silent(&stage).await, &room, message("ann", "k", "unheard")).await;
    // Copies of what is known are no reason to read the store; more of them
    // at once than a subscription holds are a gap, which is one.
    for _ in 0..3000 {
        stage.bus.publish(std::slice::from_ref(&copy)).await.unwrap();
    }
    assert_eq!(reader.live_until(&room, 4).await.len(), 4);
    assert_eq!(reader.gaps, 0, "the gap stayed here");
}

#[tokio::test]
async fn what_is_said_in_the_drain_is_announced() {
    let stage = Stage::new().await;
    let Process { mut client, ctx } = stage.serve(NO_BACKSTOP).await;
    let room = pair(&mut client).await;
    let mut tap = stage.bus.subscribe(&format!("chat:room:{room}")).await.unwrap();
    ctx.stop.cancel();
    ctx.tasks.close();
    tokio::time::timeout(PATIENCE, ctx.tasks.wait()).await.expect("nothing waits");
    say(&mut client, &room, "a last word").await;
    let told = tokio::time::timeout(PATIENCE, tap.recv()).await.expect("an announcement");
    assert!(matches!(told, Some(Delivery::Message(_))));
}

#[tokio::test]
async fn rooms_that_are_not_are_told_and_removed_ones_are_silent() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let (kept, removed) = (pair(&mut client).await, pair(&mut client).await);
    let mut reader = Reader::open(client.clone(), "bob").await;
    reader.add("01890000-0000-7000-8000-000000000000").await;
    assert!(matches!(reader.next().await.event, Some(Told::NotFound(_))));
    reader.follow(&kept).await;
    reader.follow(&removed).await;
    reader.follow(&kept).await;
    reader.remove(&removed).await;
    // The order of requests is kept: once this is answered, that was done.
    reader.follow(&kept).await;
    say(&mut client, &removed, "unheard").await;
    say(&mut client, &kept, "heard").await;
    let heard = reader.next().await;
    assert_eq!(heard.room_id, kept);
    let Some(Told::Events(events)) = heard.event else { panic!("{heard:?}") };
    assert_eq!(events.events.len(), 1, "added twice, told once");
    assert!(heard.published_at.is_some());
}

#[tokio::test]
async fn one_process_listens_once_to_a_room() {
    let stage = Stage::new().await;
    let bus = Arc::new(Counting::default());
    let mut client = stage.serve_on(bus.clone(), stage.clock.clone(), "").await.client;
    let room = pair(&mut client).await;
    let mut readers = Vec::new();
    for _ in 0..5 {
        let mut reader = Reader::open(client.clone(), "bob").await;
        reader.follow(&room).await;
        readers.push(reader);
    }
    assert_eq!(bus.subscribed.load(Ordering::SeqCst), 1);
    assert_eq!(bus.memory.topics(), 1);
    say(&mut client, &room, "k").await;
    for reader in &mut readers {
        assert_eq!(reader.live_until(&room, 3).await.len(), 3);
    }
    readers.truncate(1);
    say(&mut client, &room, "l").await;
    assert_eq!(readers[0].live_until(&room, 4).await.len(), 4);
    readers.clear();
    eventually(PATIENCE, "nobody listens", async || bus.memory.topics() == 0).await;
}

#[tokio::test]
async fn signals_reach_each_stream_once_and_are_not_kept() {
    let stage = Stage::new().await;
    let mut here = stage.serve(NO_BACKSTOP).await.client;
    let there = stage.serve(NO_BACKSTOP).await.client;
    let room = pair(&mut here).await;
    let mut readers = [Reader::open(here.clone(), "bob").await, Reader::open(there, "bob").await];
    for reader in &mut readers {
        reader.follow(&room).await;
    }
    let actor = "ann".to_owned();
    let typing = SetTypingRequest { actor: actor.clone(), room_id: room.clone() };
    here.set_typing(typing).await.unwrap();
    say(&mut here, &room, "k").await;
    // Say moved the sender's cursor already: only bob's read is news.
    for (actor, seq) in [("ann", 3), ("bob", 3), ("bob", 3)] {
        let read = MarkReadRequest { actor: actor.to_owned(), room_id: room.clone(), seq };
        here.mark_read(read).await.unwrap();
    }
    say(&mut here, &room, "l").await;
    for reader in &mut readers {
        let told: Vec<_> =
            [reader.next().await, reader.next().await, reader.next().await, reader.next().await]
                .into_iter()
                .map(|told| match told.event {
                    Some(Told::Signal(signal)) => match signal.kind.unwrap() {
                        signal::Kind::TypingUserId(user) => format!("{user} types"),
                        signal::Kind::Read(read) => format!("{} read {}", read.user_id, read.seq),
                    },
                    Some(Told::Events(events)) => format!("seq {}", events.events[0].seq),
                    other => panic!("{other:?}"),
                })
                .collect();
        assert_eq!(told, ["ann types", "seq 3", "bob read 3", "seq 4"]);
    }
    assert_eq!(stage.count("select count(*) from chat_log").await, 4);
}

#[tokio::test]
async fn a_stream_ends_with_its_requests_or_by_its_bounds() {
    let stage = Stage::new().await;
    let process = stage.serve("[chat]\nstream_rooms = 2").await;
    let mut client = process.client.clone();
    let rooms = [pair(&mut client).await, pair(&mut client).await, pair(&mut client).await];
    let mut reader = Reader::open(client.clone(), "bob").await;
    reader.follow(&rooms[0]).await;
    reader.end_requests();
    assert!(reader.end().await.is_none());
    let mut reader = Reader::open(client.clone(), "bob").await;
    reader.follow(&rooms[0]).await;
    reader.follow(&rooms[1]).await;
    reader.follow(&rooms[1]).await;
    reader.remove(&rooms[1]).await;
    reader.add("01890000-0000-7000-8000-000000000000").await;
    assert!(matches!(reader.next().await.event, Some(Told::NotFound(_))));
    reader.follow(&rooms[1]).await;
    reader.add(&rooms[2]).await;
    let told = mingle_runtime::status::Described::from(&reader.end().await.unwrap());
    assert_eq!(told.reason, "TOO_MANY_ROOMS");
    let mut reader = Reader::open(client.clone(), "bob").await;
    reader.add("").await;
    let told = mingle_runtime::status::Described::from(&reader.end().await.unwrap());
    assert_eq!((told.reason.as_str(), told.field.as_str()), ("REQUIRED", "add.room_ids"));
    // The tasks of the process end when it is told to stop.
    let left = AtomicUsize::new(0);
    process.ctx.stop.cancel();
    process.ctx.tasks.close();
    drop(reader);
    eventually(PATIENCE, "all tasks end", async || {
        left.store(process.ctx.tasks.len(), Ordering::SeqCst);
        left.load(Ordering::SeqCst) == 0
    })
    .await;
}
