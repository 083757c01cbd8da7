//! A database that was put back to an earlier state, as by a fail-over to a
//! standby that was behind: sockets that stay open are told, and hear on.

use mingle_client::ws::{
    Client, Encoding,
    proto::{Position, server_frame::Kind},
};
use serde_json::json;

use super::{plan, urls};
use crate::{
    http,
    ledger::Ledger,
    world::{greet, logged, next_event, token},
};

const SAID: u64 = 20;
const LEFT: u64 = 12;
const MORE: u64 = 5;

/// Hears every event of the log up to `last`.
async fn hear(client: &mut Client, last: u64) -> Vec<Position> {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|position: &Position| position.seq < last) {
        let event = next_event(client).await.unwrap();
        heard.extend(logged(&event).map(|(_, position)| position));
    }
    heard
}

async fn is_told_of_a_gap(client: &mut Client, room: &str) {
    loop {
        match next_event(client).await.unwrap() {
            Kind::Gap(gap) if gap.room_id == room => return,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_sockets_are_told_that_the_log_went_back_and_hear_what_is_said_next() {
    let deployment = plan().env("MINGLE_CHAT__HEADS_MS", "500").start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let body = json!({"kind": "DIRECT", "memberIds": ["ann", "bob"]});
    let made = http::post(deployment.gateways()[0], "/api/rooms", &token("ann"), &body).await.ok();
    let room = made["roomId"].as_str().unwrap();
    let begin = ledger.head(room).await;
    let [mut ann, mut bob] = {
        let urls = urls(&deployment);
        let ann = greet(&urls[0], "ann", Encoding::Json, None).await.unwrap();
        [ann, greet(&urls[1], "bob", Encoding::Proto, None).await.unwrap()]
    };
    for client in [&mut ann, &mut bob] {
        client.room_join(room, None).await.unwrap();
    }
    for n in 0..SAID {
        ann.send(room, &format!("first-{n}"), "said").await.unwrap();
    }
    hear(&mut ann, begin + SAID).await;
    hear(&mut bob, begin + SAID).await;

    ledger.put_back(room, i64::try_from(begin + LEFT).unwrap()).await;
    is_told_of_a_gap(&mut ann, room).await;
    is_told_of_a_gap(&mut bob, room).await;
    for n in 0..MORE {
        ann.send(room, &format!("second-{n}"), "said").await.unwrap();
    }
    let log: Vec<_> = ledger.room(room).await.into_iter().map(|row| row.position).collect();
    let expected = &log[usize::try_from(begin + LEFT).unwrap()..];
    assert_eq!(expected.len() as u64, MORE);
    for (who, client) in [("ann", &mut ann), ("bob", &mut bob)] {
        assert_eq!(hear(client, begin + LEFT + MORE).await, expected, "{who}");
    }
}
