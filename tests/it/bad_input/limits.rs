//! One more than there may be.

use mingle_client::ws::{
    Encoding,
    close::Close,
    proto::{Hello, Position, Resume, RoomJoin, RoomPosition, client_frame, server_frame::Kind},
};

use super::{MISSING, ask, assert_alive, assert_refused, closed, greeted, hello};
use crate::world::{World, token};

#[tokio::test]
async fn the_129th_room_is_refused() {
    let world = World::start().await;
    let mut socket = greeted(&world, "ann", Encoding::Proto).await;
    let mut rooms = Vec::new();
    for _ in 0..129 {
        rooms.push(world.channel("ann").await);
    }
    let join = |room: &String| {
        client_frame::Kind::RoomJoin(RoomJoin { room_id: room.clone(), after: None })
    };
    for room in &rooms[..128] {
        let answer = ask(&mut socket, join(room)).await;
        assert!(matches!(answer, Kind::Room(_)), "{answer:?}");
    }
    let why = ("RESOURCE_EXHAUSTED", "TOO_MANY_ROOMS", "roomId");
    assert_refused(&ask(&mut socket, join(&rooms[128])).await, why, "the 129th room");
    assert_alive(&mut socket, "the 129th room").await;
    // One that is followed already is not one more; one less makes room.
    let answer = ask(&mut socket, join(&rooms[0])).await;
    assert!(matches!(answer, Kind::Room(_)), "{answer:?}");
    let leave = mingle_client::ws::proto::RoomLeave { room_id: rooms[0].clone() };
    let answer = ask(&mut socket, client_frame::Kind::RoomLeave(leave)).await;
    assert!(matches!(answer, Kind::Ok(_)), "{answer:?}");
    let answer = ask(&mut socket, join(&rooms[128])).await;
    assert!(matches!(answer, Kind::Room(_)), "{answer:?}");

    let position = |room: &String| RoomPosition {
        room_id: room.clone(),
        after: Some(Position { seq: 1, id: MISSING.to_owned() }),
    };
    let rooms = rooms.iter().map(position).collect();
    let resume = Some(Resume { token: String::new(), rooms });
    let mut socket = world.socket(Encoding::Proto).await;
    let hello = client_frame::Kind::Hello(Hello { token: token("ann"), resume });
    let why = ("RESOURCE_EXHAUSTED", "TOO_MANY_ROOMS", "resume.rooms");
    assert_refused(&ask(&mut socket, hello).await, why, "a resume of 129 rooms");
}

#[tokio::test]
async fn the_21st_connection_is_refused_and_closed() {
    let world = World::start().await;
    let mut sockets = Vec::new();
    for number in 0..20 {
        sockets.push(greeted(&world, "ann", Encoding::ALL[number % 2]).await);
    }
    for encoding in Encoding::ALL {
        let mut socket = world.socket(encoding).await;
        let answer = ask(&mut socket, hello(&token("ann"))).await;
        let why = ("RESOURCE_EXHAUSTED", "TOO_MANY_CONNECTIONS", "");
        assert_refused(&answer, why, "the 21st connection");
        assert_eq!(closed(&mut socket).await, Close::TooManyConnections.code());
    }
    for socket in &mut sockets {
        assert_alive(socket, "the 21st connection").await;
    }
    // Others are not in the way, and a place that is given up is free again.
    greeted(&world, "bob", Encoding::Json).await;
    sockets.pop().unwrap().close().await.unwrap();
    mingle_testkit::eventually(crate::world::SOON, "the place is free", async || {
        let mut socket = world.socket(Encoding::Json).await;
        matches!(ask(&mut socket, hello(&token("ann"))).await, Kind::Welcome(_))
    })
    .await;
}
