//! One person with several sockets, one after the other or at once.

use mingle_client::ws::{
    Client, Encoding,
    proto::{Position, PresenceStatus, TicketState, server_frame::Kind},
};

use crate::world::{World, event_where, greet, next_event};

/// The next presence of `user` that a client is told.
async fn presence(client: &mut Client, user: &str) -> PresenceStatus {
    loop {
        if let Kind::Presence(presence) = next_event(client).await.unwrap()
            && presence.user_id == user
        {
            return presence.status();
        }
    }
}

/// The next message that a client is told.
async fn message(client: &mut Client) -> String {
    loop {
        if let Kind::Message(message) = next_event(client).await.unwrap() {
            return message.body;
        }
    }
}

#[tokio::test]
async fn a_return_shows_nothing_and_keeps_the_status() {
    let world = World::start().await;
    world.room(&["ann", "bob"]).await;
    let mut ann = world.client("ann", Encoding::Json).await;
    ann.presence_set(PresenceStatus::Busy).await.unwrap();
    let mut bob = world.client("bob", Encoding::Proto).await;
    bob.presence_watch(&["ann"]).await.unwrap();
    assert_eq!(presence(&mut bob, "ann").await, PresenceStatus::Busy);
    for _ in 0..5 {
        let resume = ann.resume([]);
        drop(ann);
        ann = greet(&world.url(), "ann", Encoding::Json, resume).await.unwrap();
        assert!(ann.welcome().unwrap().resumed);
    }
    ann.presence_set(PresenceStatus::Away).await.unwrap();
    assert_eq!(presence(&mut bob, "ann").await, PresenceStatus::Away, "and nothing in between");
}

#[tokio::test]
async fn a_room_left_on_one_device_and_joined_again_on_the_other_is_heard() {
    let world = World::start().await;
    let room = world.channel("bob").await;
    let mut bob = world.client("bob", Encoding::Json).await;
    let mut phone = world.client("ann", Encoding::Json).await;
    let mut desk = world.client("ann", Encoding::Proto).await;
    for client in [&mut bob, &mut phone, &mut desk] {
        client.room_join(&room, None).await.unwrap();
    }
    phone.room_leave(&room).await.unwrap();
    let left = |kind: &Kind| match kind {
        Kind::Member(member) if !member.joined => Some(member.user_id.clone()),
        _ => None,
    };
    assert_eq!(event_where(&mut desk, left).await, "ann");
    bob.send(&room, "1", "while ann is away").await.unwrap();
    assert!(desk.room_join(&room, None).await.unwrap().recovered);
    bob.send(&room, "2", "ann is back").await.unwrap();
    assert_eq!(message(&mut desk).await, "ann is back");
}

/// More than the proof of a position brings along.
const MISSED: usize = 12;

/// What a client is told of its rooms next: a body, or who left.
async fn told(client: &mut Client) -> String {
    event_where(client, |kind| match kind {
        Kind::Message(message) => Some(message.body.clone()),
        Kind::Member(member) if !member.joined => Some(format!("{} left", member.user_id)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_room_left_on_one_device_is_read_to_that_leave_by_one_that_was_away() {
    let world = World::start().await;
    for room in [world.channel("bob").await, world.room(&["bob", "ann"]).await] {
        let mut bob = world.client("bob", Encoding::Json).await;
        let mut phone = world.client("ann", Encoding::Json).await;
        let mut desk = world.client("ann", Encoding::Proto).await;
        for client in [&mut phone, &mut bob] {
            client.room_join(&room, None).await.unwrap();
        }
        let head = desk.room_join(&room, None).await.unwrap();
        let at = Position { seq: head.head_seq, id: head.head_id };
        let resume = desk.resume([(room.clone(), at)]);
        drop(desk);
        let missed: Vec<_> = (0..MISSED).map(|nth| format!("missed {nth}")).collect();
        for body in &missed {
            bob.send(&room, body, body).await.unwrap();
        }
        phone.room_leave(&room).await.unwrap();
        bob.send(&room, "not", "not for ann").await.unwrap();
        let mut desk = greet(&world.url(), "ann", Encoding::Proto, resume).await.unwrap();
        assert!(desk.welcome().unwrap().rooms[0].recovered);
        for body in &missed {
            assert_eq!(told(&mut desk).await, *body);
        }
        assert_eq!(told(&mut desk).await, "ann left");
        // Nothing of it comes after that, and no gap: what comes next is another room's.
        let other = world.channel("ann").await;
        desk.room_join(&other, None).await.unwrap();
        desk.send(&other, "own", "of the other room").await.unwrap();
        assert!(matches!(next_event(&mut desk).await.unwrap(),
            Kind::Message(message) if message.body == "of the other room"));
    }
}

#[tokio::test]
async fn who_was_told_of_a_match_looks_for_another_at_once() {
    let world = World::start().await;
    let mut clients = Vec::new();
    for user in ["ann", "bob"] {
        clients.push(world.client(user, Encoding::Json).await);
    }
    let mut told = Vec::new();
    for client in &mut clients {
        let ticket = client.match_join("random-chat", &[("gender", "other")], &[]).await.unwrap();
        told.push(ticket.ticket_id);
    }
    let matched = |kind: &Kind| match kind {
        Kind::Matched(matched) => Some(matched.ticket_id.clone()),
        _ => None,
    };
    for (client, told) in clients.iter_mut().zip(&told) {
        assert_eq!(event_where(client, matched).await, *told);
        let anew = client.match_join("random-chat", &[("gender", "other")], &[]).await.unwrap();
        assert_eq!(anew.state(), TicketState::Waiting);
        assert_ne!(anew.ticket_id, *told);
    }
}
