//! Two processes append to the same rooms of one PostgreSQL and announce over
//! a bus that loses, doubles and reorders; a third follows.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use mingle_chat::{
    domain::{Kind, Wish},
    fanout::{Board, Bounds, Hub, Outgoing, Session, Settings},
    store::Store,
};
use mingle_proto::chat::v1::{
    RoomIds, SubscribeRequest, subscribe_request::Action, subscribe_response::Event as Told,
};
use mingle_store::clock::ManualClock;
use tokio::{task::JoinSet, time::timeout};
use tokio_stream::StreamExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    between::Between,
    bus::Rough,
    conformance::{message, new_room},
    reader::{Place, take},
    stage::{self, NEW_YEAR},
};

const ROOMS: usize = 10;
const SENDS: usize = 60;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_publishers_mishandle_is_read_and_costs_a_bounded_number_of_queries() {
    let database = stage::postgres().await;
    let clock = Arc::new(ManualClock::at(NEW_YEAR));
    let bus = Arc::new(Rough::new(11));
    let tasks = TaskTracker::new();
    let board = || Board::start(bus.clone(), clock.clone(), &tasks);
    let publisher = async || stage::open(database.clone(), clock.clone(), Arc::new(board())).await;
    let publishers = [publisher().await, publisher().await];
    let rooms: Vec<String> = (0..ROOMS).map(|_| uuid::Uuid::now_v7().to_string()).collect();
    for room in &rooms {
        create(&publishers[0], room).await;
    }

    let store = stage::open(database.clone(), clock.clone(), Arc::new(stage::Nobody)).await;
    let store = Arc::new(Between::new(store));
    let settings = Settings {
        hold: Duration::from_millis(20),
        heads: Duration::from_millis(200),
        queue: Bounds { messages: 100_000, bytes: 1 << 30 },
        rooms: ROOMS,
    };
    let stop = CancellationToken::new();
    let hub = Hub::start(board(), store.clone(), settings, tasks.clone(), stop.clone());
    let add = SubscribeRequest { action: Some(Action::Add(RoomIds { room_ids: rooms.clone() })) };
    let requests = tokio_stream::iter([Ok(add)]).chain(tokio_stream::pending());
    let follower = Session::start(&hub, requests);
    let (mut follower, mut logs) = opened(follower, &rooms).await;

    let mut sending = JoinSet::new();
    for (at, room) in rooms.iter().cloned().enumerate() {
        for (who, user) in ["ann", "bob"].into_iter().enumerate() {
            let (store, room) = (publishers[(at + who) % 2].clone(), room.clone());
            sending.spawn(async move {
                for number in 0..SENDS {
                    let intent = message(user, &format!("{user}-{number}"), "said");
                    let wish = Wish { room_id: room.clone(), intent, trace_id: String::new() };
                    store.write(wish, String::new()).await.unwrap().unwrap();
                }
            });
        }
    }
    let last = (2 + 2 * SENDS) as u64;
    while logs.values().any(|log: &Vec<Place>| log.last().is_none_or(|(seq, _)| *seq < last)) {
        let answer = timeout(PATIENCE, follower.next()).await.expect("an event").unwrap().unwrap();
        let Some(Told::Events(events)) = answer.event else { panic!("{answer:?}") };
        let log = logs.get_mut(&answer.room_id).unwrap();
        events.events.iter().for_each(|event| assert!(take(log, event), "a hole"));
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    for (room, log) in &logs {
        let kept = store.store.range(room, 0, 1000).await.unwrap().events;
        let kept: Vec<Place> = kept.into_iter().map(|event| (event.seq, event.id)).collect();
        assert!(log[1..] == kept[1..], "what was told is not what is kept");
    }
    let (dropped, doubled, reordered) = bus.mischief();
    let (ranges, heads) = (store.ranges.load(SeqCst), store.heads.load(SeqCst));
    eprintln!(
        "{dropped} dropped, {doubled} doubled, {reordered} reordered: {ranges} repairs, \
         {heads} comparisons of heads"
    );
    assert!(dropped > 20 && doubled > 20 && reordered > 20);
    // A repair is caused by something that was lost or overtaken.
    assert!(0 < ranges && ranges <= 2 * (dropped + reordered) + ROOMS, "{ranges} repairs");
    stop.cancel();
}

async fn create(store: &Arc<dyn Store>, room: &str) {
    let intent = mingle_chat::domain::Intent::Create(new_room(Kind::Direct, &["ann", "bob"], None));
    let wish = Wish { room_id: room.to_owned(), intent, trace_id: String::new() };
    store.write(wish, String::new()).await.unwrap().unwrap();
}

/// Waits until every room is followed; their logs begin with two members.
async fn opened(
    mut follower: Outgoing,
    rooms: &[String],
) -> (Outgoing, HashMap<String, Vec<Place>>) {
    let mut logs = HashMap::new();
    while logs.len() < rooms.len() {
        let answer = timeout(PATIENCE, follower.next()).await.expect("opened").unwrap().unwrap();
        let Some(Told::Opened(opened)) = answer.event else { panic!("{answer:?}") };
        let head = opened.head.unwrap();
        assert_eq!(head.seq, 2);
        logs.insert(answer.room_id, vec![(1, String::new()), (2, head.id)]);
    }
    (follower, logs)
}
