//! A stream that is not read: bounded here, told of its gap, and nobody
//! else's matter.

use mingle_proto::chat::v1::{
    CreateRoomRequest, RoomKind, SendRequest, subscribe_response::Event as Told,
};

use crate::{
    reader::{Reader, take},
    stage::{Client, Stage},
};

async fn pair(client: &mut Client) -> String {
    let request = CreateRoomRequest {
        kind: RoomKind::Pair.into(),
        member_ids: vec!["ann".to_owned(), "bob".to_owned()],
        ..Default::default()
    };
    client.create_room(request).await.unwrap().into_inner().room.unwrap().room_id
}

async fn say(client: &mut Client, room_id: &str, n: usize, body: String) {
    let request = SendRequest {
        actor: "ann".to_owned(),
        room_id: room_id.to_owned(),
        client_msg_id: n.to_string(),
        body,
        ..Default::default()
    };
    client.send(request).await.unwrap();
}

/// Says `n` things of `bytes` while nobody reads; returns how many live
/// events the slow stream still gets, having found no hole without a gap.
async fn stall(overrides: &str, n: usize, bytes: usize) -> usize {
    let stage = Stage::new().await;
    let mut client = stage.serve(overrides).await.client;
    let (busy, quiet) = (pair(&mut client).await, pair(&mut client).await);
    let mut slow = Reader::open(client.clone(), "bob").await;
    slow.follow(&busy).await;
    slow.follow(&quiet).await;
    let mut swift = Reader::open(client.clone(), "bob").await;
    swift.follow(&busy).await;
    let last = 2 + n as u64;
    for n in 0..n {
        say(&mut client, &busy, n, "x".repeat(bytes)).await;
        let told = swift.next().await;
        assert!(matches!(told.event, Some(Told::Events(_))), "the swift one misses nothing");
    }
    // Now it is read: what was queued, then the gap, in order.
    let mut log = vec![(1, String::new()), (2, String::new())];
    let mut live = 0;
    loop {
        match slow.next().await.event {
            Some(Told::Events(events)) => {
                live += events.events.len();
                events.events.iter().for_each(|event| assert!(take(&mut log, event), "a hole"));
            }
            Some(Told::Gap(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    // After the gap the room flows again, from where it is by then.
    say(&mut client, &busy, n, "after".to_owned()).await;
    let told = slow.next().await;
    let Some(Told::Events(events)) = &told.event else { panic!("{told:?}") };
    assert_eq!((told.room_id.as_str(), events.events[0].seq), (busy.as_str(), last + 1));
    assert_eq!(slow.replay(&busy).await.len() as u64, last + 1);
    live
}

#[tokio::test]
async fn a_slow_stream_is_bounded_in_messages() {
    let live = stall("[chat]\nstream_queue_messages = 16", 300, 10).await;
    assert!((16..40).contains(&live), "{live} of 300 were queued");
}

#[tokio::test]
async fn a_slow_stream_is_bounded_in_bytes() {
    let live = stall("[chat]\nstream_queue_bytes = 65536", 100, 4096).await;
    assert!((15..40).contains(&live), "{live} of 100 were queued");
}
