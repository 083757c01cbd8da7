//! A row of a room's log that cannot be read: whoever is owed it is told of a
//! gap, and neither that room nor their others are lost to them.

use mingle_client::ws::{
    Encoding,
    proto::{Position, server_frame::Kind},
};

use crate::world::{World, logged, next_event};

/// Of each log: more than the proof of a position reads.
const MESSAGES: usize = 40;
const DAMAGED: i64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_read_is_a_gap_and_keeps_no_other_room_back() {
    let world = World::start().await;
    let rooms = [world.channel("ann").await, world.channel("ann").await];
    let mut ann = world.client("ann", Encoding::Proto).await;
    for room in &rooms {
        for number in 0..MESSAGES {
            ann.send(room, &number.to_string(), "hello").await.unwrap();
        }
    }
    let ledger = world.ledger().await;
    ledger.damage(&rooms[0], DAMAGED).await;
    ledger.close().await;

    let mut eve = world.client("eve", Encoding::Json).await;
    for room in &rooms {
        eve.room_join(room, Some(Position::default())).await.unwrap();
    }
    let (mut at, mut gaps) = (0, 0);
    while at < MESSAGES as u64 || gaps == 0 {
        let event = next_event(&mut eve).await.unwrap();
        if let Kind::Gap(gap) = &event {
            assert_eq!(gap.room_id, rooms[0]);
            gaps += 1;
        }
        match logged(&event) {
            Some((room, position)) if *room == rooms[1] => {
                assert_eq!(position.seq, at + 1);
                at = position.seq;
            }
            _ => {}
        }
    }
    for room in &rooms {
        ann.send(room, "live", "live").await.unwrap();
        let is_live = |event: &Kind| match event {
            Kind::Message(message) if message.room_id == *room && message.body == "live" => {
                Some(())
            }
            _ => None,
        };
        let heard = eve.event_where(is_live);
        tokio::time::timeout(crate::world::SOON, heard).await.expect("it is live").unwrap();
    }
}
