//! More hellos than a gateway works on at once, each of which takes long.

use std::time::Duration;

use futures::future::join_all;
use mingle_client::ws::{
    Client, Encoding, Error,
    proto::{Position, Resume, RoomPosition},
};
use mingle_testkit::{Fault, To};
use serde_json::json;

use super::{plan, urls};
use crate::{
    http,
    world::{greet, token},
};

const GUESTS: usize = 16;
/// What chat's answers take: all of them together for much longer than a hello
/// waits for its turn, which is 5 s.
const SLOW: Duration = Duration::from_secs(1);
/// When to come back, at the least.
const BUSY_MS: u32 = 2_000;

async fn come(url: &str, user: &str, room: &str) -> Result<Client, Error> {
    let room = RoomPosition { room_id: room.to_owned(), after: Some(Position::default()) };
    let resume = Resume { token: String::new(), rooms: vec![room] };
    greet(url, user, Encoding::Json, Some(resume)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_finds_no_turn_is_told_when_to_come_again() {
    let mut deployment = plan()
        .count("gateway", 1)
        .count("chat", 1)
        .ways()
        .env("MINGLE_GATEWAY__LIMITS__HELLOS_AT_ONCE", "1")
        .start()
        .await;
    let (gateway, url) = (deployment.gateways()[0], urls(&deployment).remove(0));
    let body = json!({"kind": "CHANNEL", "name": "all"});
    let room = http::post(gateway, "/api/rooms", &token("guest-0"), &body).await.ok();
    let room = room["roomId"].as_str().unwrap();

    deployment.way("gateway", 0, To::Peer("chat", 0)).set(Fault::Slow(SLOW));
    let users: Vec<String> = (0..GUESTS).map(|guest| format!("guest-{guest}")).collect();
    let came = join_all(users.iter().map(|user| come(&url, user, room))).await;
    deployment.way("gateway", 0, To::Peer("chat", 0)).set(Fault::None);
    let (mut welcome, mut refused) = (Vec::new(), Vec::new());
    for (user, came) in users.iter().zip(came) {
        match came {
            Ok(client) => welcome.push(client),
            Err(Error::Refused(error)) => {
                assert_eq!((&*error.code, &*error.reason), ("RESOURCE_EXHAUSTED", "OVERLOADED"));
                assert!(error.retry_after_ms >= BUSY_MS, "{error:?}");
                refused.push(user);
            }
            Err(error) => panic!("{user}: {error}"),
        }
    }
    eprintln!("{} welcome, {} refused", welcome.len(), refused.len());
    assert!(!welcome.is_empty() && !refused.is_empty());
    let probes = deployment.process("gateway", 0).probes_addr();
    let counted = http::counter(probes, "mingle_gateway_hellos_refused_total").await;
    assert_eq!(counted, refused.len() as u64);
    // There is room again.
    for user in refused {
        welcome.push(come(&url, user, room).await.unwrap());
    }
    assert_eq!(welcome.len(), GUESTS);
}
