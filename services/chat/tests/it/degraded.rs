//! The database away: told as such, nothing acknowledged, streams alive.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use mingle_chat::domain::{self, Intent, Wish};
use mingle_proto::chat::v1::{
    CreateRoomRequest, HistoryRequest, RoomIds, RoomKind, SendRequest, SetTypingRequest,
    SubscribeRequest, subscribe_request::Action, subscribe_response::Event as Told,
};
use mingle_runtime::status::{Described, Kind};
use mingle_testkit::eventually;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use crate::{
    bus::Severed,
    conformance::new_room,
    stage::{Client, Stage, traced},
};

async fn pair(client: &mut Client) -> String {
    let request = CreateRoomRequest {
        kind: RoomKind::Pair.into(),
        member_ids: vec!["ann".to_owned(), "bob".to_owned()],
        ..Default::default()
    };
    client.create_room(request).await.unwrap().into_inner().room.unwrap().room_id
}

fn send(room_id: &str, key: &str) -> SendRequest {
    SendRequest {
        actor: "ann".to_owned(),
        room_id: room_id.to_owned(),
        client_msg_id: key.to_owned(),
        body: "hello".to_owned(),
        metadata: HashMap::new(),
    }
}

#[tokio::test]
async fn without_the_database_calls_are_unavailable_and_streams_stay() {
    let stage = Stage::new().await;
    let mut client = stage.serve("[chat]\nheads_ms = 10").await.client;
    let room = pair(&mut client).await;
    let (requests, stream) = tokio::sync::mpsc::channel(4);
    let mut answers = client.subscribe(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let add = |room_id: &str| SubscribeRequest {
        action: Some(Action::Add(RoomIds { room_ids: vec![room_id.to_owned()] })),
    };
    requests.send(add(&room)).await.unwrap();
    answers.message().await.unwrap().unwrap();
    client.send(send(&room, "before")).await.unwrap();
    answers.message().await.unwrap().unwrap();
    stage.database.close().await;
    let history =
        HistoryRequest { actor: "ann".to_owned(), room_id: room.clone(), ..Default::default() };
    for status in [
        client.send(send(&room, "after")).await.unwrap_err(),
        client.history(history).await.unwrap_err(),
    ] {
        let told = Described::from(&status);
        assert_eq!((told.kind, told.reason.as_str()), (Kind::Unavailable, "UNAVAILABLE"));
        assert!(told.retry_after.is_some());
    }
    let said = "select count(*) from chat_log where kind = 1";
    assert_eq!(stage.count(said).await, 1, "nothing was written that was not acknowledged");
    // Another room cannot be opened now; the stream waits with it, alive: it
    // is still told what another process, with a database, announces.
    requests.send(add("01890000-0000-7000-8000-000000000000")).await.unwrap();
    let elsewhere = Stage::new().await;
    let other = elsewhere.serve_on(stage.bus.clone(), stage.clock.clone(), "").await;
    let wish = Wish {
        room_id: room.clone(),
        intent: Intent::Create(new_room(domain::Kind::Pair, &["ann", "bob"], None)),
        trace_id: String::new(),
    };
    elsewhere.store().await.write(wish, String::new()).await.unwrap().unwrap();
    let typing = SetTypingRequest { actor: "ann".to_owned(), room_id: room };
    other.client.clone().set_typing(typing).await.unwrap();
    let told = answers.message().await.unwrap().unwrap();
    assert!(matches!(told.event, Some(Told::Signal(_))), "{told:?}");
}

/// A stream stays where it was opened: one that hears of nothing any more must
/// end, so that another process can be asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_and_the_bus_streams_end_and_none_is_opened() {
    const PATIENCE: Duration = Duration::from_secs(60);
    /// Longer than a process that sees nothing keeps its streams.
    const LONG: Duration = Duration::from_secs(8);
    let stage = Stage::new().await;
    let bus = Arc::new(Severed::default());
    let process = stage.serve_on(bus.clone(), stage.clock.clone(), "").await;
    let mut client = process.client.clone();
    let room = pair(&mut client).await;
    let (requests, stream) = tokio::sync::mpsc::channel(4);
    let mut answers = client.subscribe(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let action = Some(Action::Add(RoomIds { room_ids: vec![room] }));
    requests.send(SubscribeRequest { action }).await.unwrap();
    answers.message().await.unwrap().unwrap();
    bus.severed.store(true, SeqCst);
    assert!(timeout(LONG, answers.message()).await.is_err(), "the database tells what it misses");
    stage.database.close().await;
    let end = timeout(PATIENCE, answers.message()).await.expect("the end").unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    let open = async || client.clone().subscribe(tokio_stream::pending()).await.map(drop);
    assert_eq!(open().await.unwrap_err().code(), Code::Unavailable);
    bus.severed.store(false, SeqCst);
    eventually(PATIENCE, "a stream, by the bus alone", async || open().await.is_ok()).await;
}

#[tokio::test]
async fn the_trace_of_a_send_is_answered_kept_and_told() {
    traced();
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let room = pair(&mut client).await;
    let (requests, stream) = tokio::sync::mpsc::channel(4);
    let mut answers = client.subscribe(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let action = Some(Action::Add(RoomIds { room_ids: vec![room.clone()] }));
    requests.send(SubscribeRequest { action }).await.unwrap();
    answers.message().await.unwrap().unwrap();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut request = Request::new(send(&room, "k"));
    let parent = format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap();
    request.metadata_mut().insert("traceparent", parent);
    assert_eq!(client.send(request).await.unwrap().into_inner().trace_id, trace);
    let told = answers.message().await.unwrap().unwrap();
    assert!(told.traceparent.starts_with(&format!("00-{trace}-")), "{}", told.traceparent);
    let kept = "select count(*) from chat_log
        where kind = 1 and trace_id = '4bf92f3577b34da6a3ce929d0e0e4736'";
    assert_eq!(stage.count(kept).await, 1);
    // A retry is of another trace and answers the first one.
    assert_eq!(client.send(send(&room, "k")).await.unwrap().into_inner().trace_id, trace);
}
