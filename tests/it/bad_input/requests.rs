//! Requests that are well formed and cannot be served, in both encodings.

use std::collections::HashMap;

use mingle_client::ws::{
    Encoding, Socket,
    proto::{
        Delete, Edit, History, MatchJoin, MatchLeave, Position, PresenceSet, PresenceStatus,
        PresenceWatch, Read, RoomJoin, RoomLeave, Send, Typing, client_frame::Kind as Asked,
        server_frame::Kind,
    },
};
use mingle_proto::{ListValue, Value, value};
use serde_json::json;

use super::{MISSING, Why, ask, assert_alive, assert_refused, greeted, hello};
use crate::world::{World, mint};

const BAD: &str = "INVALID_ARGUMENT";

/// What ann has, and what she has not.
struct Scene {
    /// A room of ann and bob, with a message of each.
    own: String,
    anns: String,
    bobs: String,
    /// A room of bob and carol, with a message.
    foreign: String,
    /// The ticket that carol waits with.
    ticket: String,
}

async fn scene(world: &World) -> (Scene, Vec<Socket>) {
    let own = world.room(&["ann", "bob"]).await;
    let foreign = world.room(&["bob", "carol"]).await;
    let mut bob = greeted(world, "bob", Encoding::Json).await;
    let mut ann = greeted(world, "ann", Encoding::Json).await;
    let mut carol = greeted(world, "carol", Encoding::Json).await;
    let anns = say(&mut ann, &own, "k1", "hello").await;
    let bobs = say(&mut bob, &own, "k1", "hello").await;
    say(&mut bob, &foreign, "k1", "secret").await;
    let join = join("random-chat", &[("gender", "female")], &[("gender", "other")]);
    let Kind::Ticket(ticket) = ask(&mut carol, join).await else { panic!("no ticket") };
    (Scene { own, anns, bobs, foreign, ticket: ticket.ticket_id }, vec![ann, bob, carol])
}

async fn say(socket: &mut Socket, room: &str, key: &str, body: &str) -> String {
    match ask(socket, Asked::Send(message(room, key, body))).await {
        Kind::Sent(sent) => sent.message_id,
        other => panic!("{other:?}"),
    }
}

fn message(room: &str, key: &str, body: &str) -> Send {
    Send {
        room_id: room.to_owned(),
        client_msg_id: key.to_owned(),
        body: body.to_owned(),
        metadata: HashMap::new(),
    }
}

fn join(pool: &str, attributes: &[(&str, &str)], wants: &[(&str, &str)]) -> Asked {
    let text = |text: &str| value::Kind::StringValue(text.to_owned());
    let wants = wants.iter().map(|(name, value)| ((*name).to_owned(), list(text(value))));
    let attributes =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Asked::MatchJoin(MatchJoin {
        pool: pool.to_owned(),
        attributes: attributes.collect(),
        wants: wants.collect(),
    })
}

fn list(kind: value::Kind) -> ListValue {
    ListValue { values: vec![Value { kind: Some(kind) }] }
}

/// Every request that names a room, about `room`.
fn about(room: &str, message_id: &str) -> Vec<(&'static str, Asked)> {
    let room_id = room.to_owned();
    let message_id = message_id.to_owned();
    let after = Some(Position::default());
    let body = "x".to_owned();
    vec![
        ("roomJoin", Asked::RoomJoin(RoomJoin { room_id: room_id.clone(), after: None })),
        ("roomJoin after", Asked::RoomJoin(RoomJoin { room_id: room_id.clone(), after })),
        ("roomLeave", Asked::RoomLeave(RoomLeave { room_id: room_id.clone() })),
        ("send", Asked::Send(message(room, "k9", "x"))),
        (
            "edit",
            Asked::Edit(Edit { room_id: room_id.clone(), message_id: message_id.clone(), body }),
        ),
        ("delete", Asked::Delete(Delete { room_id: room_id.clone(), message_id })),
        ("history", Asked::History(History { room_id: room_id.clone(), before: 0, limit: 0 })),
        ("read", Asked::Read(Read { room_id: room_id.clone(), seq: 1 })),
        ("typing", Asked::Typing(Typing { room_id })),
    ]
}

#[tokio::test]
async fn a_foreign_room_is_not_there_whatever_is_asked() {
    let world = World::start().await;
    let (scene, _others) = scene(&world).await;
    for encoding in Encoding::ALL {
        let mut socket = greeted(&world, "ann", encoding).await;
        let requests =
            about(&scene.foreign, &scene.bobs).into_iter().zip(about(MISSING, &scene.bobs));
        for ((what, foreign), (_, missing)) in requests {
            let foreign = ask(&mut socket, foreign).await;
            assert_refused(&foreign, ("NOT_FOUND", "ROOM_NOT_FOUND", "roomId"), what);
            // Not even the words tell the two apart.
            let missing = ask(&mut socket, missing).await;
            assert_eq!(foreign, missing, "{what}");
            assert_alive(&mut socket, what).await;
        }
        for (what, nameless) in about("", &scene.bobs) {
            let answer = ask(&mut socket, nameless).await;
            assert_refused(&answer, (BAD, "REQUIRED", "roomId"), what);
        }
    }
}

/// Requests of ann and what is wrong with each.
fn wrong_requests(scene: &Scene) -> Vec<(&'static str, Asked, Why<'static>)> {
    let send = |key: &str, body: &str| Asked::Send(message(&scene.own, key, body));
    let with = |metadata: HashMap<String, String>| {
        Asked::Send(Send { metadata, ..message(&scene.own, "k2", "x") })
    };
    let edit = |message_id: &str, body: &str| {
        let (room_id, message_id) = (scene.own.clone(), message_id.to_owned());
        Asked::Edit(Edit { room_id, message_id, body: body.to_owned() })
    };
    let room_id = || scene.own.clone();
    let pool = "random-chat";
    let leave = |ticket: &str| Asked::MatchLeave(MatchLeave { ticket_id: ticket.to_owned() });
    let watch = |users: Vec<String>| Asked::PresenceWatch(PresenceWatch { user_ids: users });
    let show = |status: PresenceStatus| Asked::PresenceSet(PresenceSet { status: status.into() });
    let large: HashMap<_, _> = [("a".to_owned(), "x".repeat(2048))].into();
    let not_text = MatchJoin {
        pool: pool.to_owned(),
        attributes: [("gender".to_owned(), "other".to_owned())].into(),
        wants: [("gender".to_owned(), list(value::Kind::NumberValue(1.0)))].into(),
    };
    let not_allowed = ("PERMISSION_DENIED", "NOT_ALLOWED", "");
    let no_ticket = ("NOT_FOUND", "TICKET_NOT_FOUND", "ticketId");
    let no_message = ("NOT_FOUND", "MESSAGE_NOT_FOUND", "messageId");
    vec![
        ("an empty body", send("k2", ""), (BAD, "REQUIRED", "body")),
        ("8 KiB and one byte", send("k2", &"x".repeat(8193)), (BAD, "TOO_LONG", "body")),
        ("bytes, not letters", send("k2", &"ä".repeat(4097)), (BAD, "TOO_LONG", "body")),
        ("a NUL byte", send("k2", "a\0b"), (BAD, "MALFORMED", "body")),
        ("no key", send("", "x"), (BAD, "REQUIRED", "clientMsgId")),
        ("a long key", send(&"x".repeat(65), "x"), (BAD, "TOO_LONG", "clientMsgId")),
        ("much metadata", with(large), (BAD, "TOO_LONG", "metadata")),
        ("a used key", send("k1", "other"), ("ALREADY_EXISTS", "KEY_REUSED", "clientMsgId")),
        ("another's message", edit(&scene.bobs, "x"), not_allowed),
        ("no such message", edit(MISSING, "x"), no_message),
        ("an edit to nothing", edit(&scene.anns, ""), (BAD, "REQUIRED", "body")),
        ("an edit of nothing", edit("", "x"), (BAD, "REQUIRED", "messageId")),
        (
            "another's message",
            Asked::Delete(Delete { room_id: room_id(), message_id: scene.bobs.clone() }),
            not_allowed,
        ),
        (
            "a large page",
            Asked::History(History { room_id: room_id(), before: 0, limit: 51 }),
            (BAD, "MALFORMED", "limit"),
        ),
        (
            "beyond the head",
            Asked::Read(Read { room_id: room_id(), seq: 1_000_000 }),
            (BAD, "MALFORMED", "seq"),
        ),
        ("no pool", join("", &[("gender", "other")], &[]), (BAD, "REQUIRED", "pool")),
        ("a pool unknown", join("x", &[("gender", "other")], &[]), (BAD, "UNKNOWN_POOL", "pool")),
        ("no attribute", join(pool, &[], &[]), (BAD, "REQUIRED", "attributes.gender")),
        (
            "a value unknown",
            join(pool, &[("gender", "cat")], &[]),
            (BAD, "UNKNOWN_VALUE", "attributes.gender"),
        ),
        (
            "an attribute unknown",
            join(pool, &[("gender", "other"), ("age", "7")], &[]),
            (BAD, "UNKNOWN_VALUE", "attributes.age"),
        ),
        (
            "a wanted value unknown",
            join(pool, &[("gender", "other")], &[("gender", "cat")]),
            (BAD, "UNKNOWN_VALUE", "wants.gender"),
        ),
        ("wants that are numbers", Asked::MatchJoin(not_text), (BAD, "MALFORMED", "wants.gender")),
        ("another's ticket", leave(&scene.ticket), no_ticket),
        ("no such ticket", leave(MISSING), no_ticket),
        ("no ticket", leave(""), (BAD, "REQUIRED", "ticketId")),
        (
            "a stranger",
            watch(vec!["bob".to_owned(), "carol".to_owned()]),
            ("NOT_FOUND", "USER_NOT_FOUND", "userIds"),
        ),
        (
            "257 users",
            watch((0..257).map(|number| format!("user-{number}")).collect()),
            (BAD, "TOO_LONG", "userIds"),
        ),
        ("offline", show(PresenceStatus::Offline), (BAD, "MALFORMED", "status")),
        ("unknown", show(PresenceStatus::Unknown), (BAD, "MALFORMED", "status")),
        ("no status", show(PresenceStatus::Unspecified), (BAD, "MALFORMED", "status")),
    ]
}

#[tokio::test]
async fn each_wrong_request_is_refused_by_reason_and_field() {
    let world = World::start().await;
    let (scene, _others) = scene(&world).await;
    for encoding in Encoding::ALL {
        let mut socket = greeted(&world, "ann", encoding).await;
        for (what, request, why) in wrong_requests(&scene) {
            assert_refused(&ask(&mut socket, request).await, why, what);
            assert_alive(&mut socket, what).await;
        }
    }
    // Nothing of it came to be.
    assert_eq!(world.history("ann", &scene.own).await.len(), 2);
    assert_eq!(world.history("bob", &scene.foreign).await.len(), 1);
}

#[tokio::test]
async fn attributes_do_not_contradict_the_token_nor_an_earlier_join() {
    let world = World::start().await;
    let claims = json!({"sub": "dora", "exp": crate::world::FUTURE, "aud": "mingle",
        "attrs": {"gender": "female"}});
    let mut socket = world.socket(Encoding::Json).await;
    assert!(matches!(ask(&mut socket, hello(&mint(&claims))).await, Kind::Welcome(_)));
    let answer = ask(&mut socket, join("random-chat", &[("gender", "male")], &[])).await;
    assert_refused(&answer, (BAD, "ATTRIBUTE_CONFLICT", "attributes.gender"), "a contradiction");
    // What the token says need not be said.
    let wait = || join("random-chat", &[], &[("gender", "male")]);
    let Kind::Ticket(ticket) = ask(&mut socket, wait()).await else { panic!("no ticket") };
    let Kind::Ticket(again) = ask(&mut socket, wait()).await else { panic!("no ticket") };
    assert_eq!(ticket, again);
    let answer = ask(&mut socket, join("random-chat", &[], &[("gender", "other")])).await;
    assert_refused(&answer, ("ALREADY_EXISTS", "ALREADY_WAITING", "wants"), "another join");
}

#[tokio::test]
async fn a_position_that_is_not_of_the_log_is_told() {
    let world = World::start().await;
    let (scene, _others) = scene(&world).await;
    for encoding in Encoding::ALL {
        let mut socket = greeted(&world, "ann", encoding).await;
        for (seq, id, reason) in [
            (1_000_000, scene.bobs.as_str(), "beyond_head"),
            (4, MISSING, "id_mismatch"),
            (4, scene.anns.as_str(), "id_mismatch"),
            (4, "", "id_mismatch"),
            (4, scene.bobs.as_str(), ""),
        ] {
            let after = Some(Position { seq, id: id.to_owned() });
            let join = RoomJoin { room_id: scene.own.clone(), after };
            match ask(&mut socket, Asked::RoomJoin(join)).await {
                Kind::Room(room) => {
                    assert_eq!((room.recovered, room.reason.as_str()), (reason.is_empty(), reason));
                    assert_eq!((room.head_seq, &room.head_id), (4, &scene.bobs));
                }
                other => panic!("{other:?}"),
            }
            assert_alive(&mut socket, reason).await;
        }
    }
}
