//! Pairs who talk, each in a room of their own: the load of many tests.

use std::{net::SocketAddr, time::Duration};

use mingle_testkit::Deployment;
use serde_json::json;

use crate::{
    checker::{self, Crowd, Person},
    http,
    world::token,
};

/// So many pairs begin to talk, `pace` between two messages of one user; the two
/// of a pair come to these gateways.
pub(super) async fn talk(
    _: &Deployment,
    load: (usize, Duration),
    gateways: [Vec<SocketAddr>; 2],
    seed: u64,
) -> Crowd {
    talk_at(load, gateways, seed).await
}

/// The same, wherever the gateways are.
pub(super) async fn talk_at(
    (pairs, pace): (usize, Duration),
    gateways: [Vec<SocketAddr>; 2],
    seed: u64,
) -> Crowd {
    let mut crowd = Crowd::new();
    for (pair, seed) in (0..pairs).zip((seed..).step_by(2)) {
        let users = [format!("ann-{pair}"), format!("bob-{pair}")];
        let body = json!({"kind": "DIRECT", "memberIds": users});
        let room = http::post(gateways[0][0], "/api/rooms", &token(&users[0]), &body).await.ok();
        let room = room["roomId"].as_str().unwrap();
        for ((user, gateways), seed) in users.iter().zip(&gateways).zip(seed..) {
            let person = Person::new(user, gateways.clone(), seed, crowd.tally.clone());
            crowd.add(|phase| checker::speak(person, room.to_owned(), pace, phase));
        }
    }
    crowd
}
