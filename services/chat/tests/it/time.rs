//! What time does, in a process with a clock that moves when told.

use std::time::Duration;

use mingle_proto::chat::v1::{
    CreateRoomRequest, GetRoomRequest, ReplayRequest, RoomKind, SendRequest, event,
    subscribe_response::Event as Told,
};
use mingle_testkit::eventually;

use crate::{
    reader::Reader,
    stage::{Client, Stage, failure},
};

const PATIENCE: Duration = Duration::from_secs(30);
const SWEEP: &str = "[chat]\nsweep_ms = 10";
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

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
        body: "x".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_silent_pair_closes_after_two_hours_and_is_told() {
    let stage = Stage::new().await;
    let mut client = stage.serve(SWEEP).await.client;
    let (silent, busy) = (pair(&mut client).await, pair(&mut client).await);
    let mut reader = Reader::open(client.clone(), "bob").await;
    reader.follow(&silent).await;
    stage.clock.advance(HOUR);
    client.send(send(&busy, "k")).await.unwrap();
    stage.clock.advance(HOUR);
    let told = reader.next().await;
    let Some(Told::Events(events)) = told.event else { panic!("{told:?}") };
    let Some(event::Kind::Closed(closed)) = &events.events[0].kind else { panic!("{events:?}") };
    assert_eq!((closed.reason.as_str(), closed.closer_id.as_str()), ("idle", ""));
    assert_eq!(events.events[0].seq, 3);
    assert_eq!(failure(client.send(send(&silent, "k")).await).1, "ROOM_CLOSED");
    let room = GetRoomRequest { actor: "ann".to_owned(), room_id: busy.clone() };
    let room = client.get_room(room).await.unwrap().into_inner().room.unwrap();
    assert!(!room.closed && client.send(send(&busy, "l")).await.is_ok());
}

#[tokio::test]
async fn events_of_thirty_days_ago_are_gone_and_a_replay_says_so() {
    let stage = Stage::new().await;
    // Pairs may be silent for longer, so that nothing else happens.
    let process = stage.serve("[chat]\nsweep_ms = 10\npair_idle_ms = 8640000000").await;
    let mut client = process.client;
    let room = pair(&mut client).await;
    client.send(send(&room, "old")).await.unwrap();
    stage.clock.advance(29 * DAY);
    let kept = client.send(send(&room, "new")).await.unwrap().into_inner();
    stage.clock.advance(DAY + 1);
    eventually(PATIENCE, "old events go", async || {
        stage.count("select count(*) from chat_log").await == 1
    })
    .await;
    let request = ReplayRequest { actor: "bob".to_owned(), room_id: room, ..Default::default() };
    let replay = client.replay(request).await.unwrap().into_inner();
    assert_eq!((replay.recovered, replay.reason.as_str()), (false, "expired"));
    assert_eq!((replay.events.len(), replay.events[0].seq), (1, kept.seq));
}
