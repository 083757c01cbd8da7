//! The contract as callers have it: through gRPC and the server's stack.

#![allow(clippy::needless_update, reason = "one macro makes requests with more fields and without")]

use std::collections::HashMap;

use mingle_proto::chat::v1::{
    CloseRoomRequest, CreateRoomRequest, CreateRoomResponse, DeleteRequest, EditRequest,
    GetRoomRequest, HistoryRequest, JoinRequest, LeaveRequest, ListMembersRequest,
    ListRoomsRequest, MarkReadRequest, Position, ReplayRequest, RoomKind, SendRequest,
    SetTypingRequest, SharedRoomsRequest, event,
};

use crate::stage::{Client, NEW_YEAR, Stage, failure};

async fn create(client: &mut Client, kind: RoomKind, users: &[&str], external: &str) -> String {
    let request = CreateRoomRequest {
        actor: if kind == RoomKind::Pair { String::new() } else { users[0].to_owned() },
        kind: kind.into(),
        name: "n".to_owned(),
        member_ids: users.iter().map(|user| (*user).to_owned()).collect(),
        external_id: external.to_owned(),
    };
    client.create_room(request).await.unwrap().into_inner().room.unwrap().room_id
}

fn send(actor: &str, room_id: &str, key: &str, body: &str) -> SendRequest {
    SendRequest {
        actor: actor.to_owned(),
        room_id: room_id.to_owned(),
        client_msg_id: key.to_owned(),
        body: body.to_owned(),
        metadata: HashMap::from([("k".to_owned(), "v".to_owned())]),
    }
}

/// A request of `actor` about `room_id` and nothing else.
macro_rules! about {
    ($request:ident, $actor:expr, $room:expr) => {
        $request { actor: $actor.to_string(), room_id: $room.to_string(), ..Default::default() }
    };
}

#[tokio::test]
async fn a_conversation_from_match_to_goodbye() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let room = create(&mut client, RoomKind::Pair, &["ann", "bob"], "match-1").await;
    assert_eq!(create(&mut client, RoomKind::Pair, &["ann", "bob"], "match-1").await, room);
    let joined = client.join(about!(JoinRequest, "bob", room)).await.unwrap().into_inner();
    let joined = joined.room.unwrap();
    assert_eq!((joined.kind(), joined.member_count), (RoomKind::Pair, 2));
    assert_eq!(joined.created_at.unwrap().millis(), NEW_YEAR);
    let first = client.send(send("ann", &room, "k1", "helo")).await.unwrap().into_inner();
    let again = client.send(send("ann", &room, "k1", "helo")).await.unwrap().into_inner();
    assert_eq!((&first, first.seq), (&again, 3));
    let message_id = first.message_id.clone();
    let edit =
        EditRequest { message_id, body: "hello".to_owned(), ..about!(EditRequest, "ann", room) };
    let edited = client.edit(edit).await.unwrap().into_inner().position.unwrap();
    client.send(send("bob", &room, "k1", "hi")).await.unwrap();
    let message_id = first.message_id.clone();
    let delete = DeleteRequest { message_id, ..about!(DeleteRequest, "ann", room) };
    client.delete(delete).await.unwrap();
    let page = client.history(about!(HistoryRequest, "bob", room)).await.unwrap().into_inner();
    assert!(!page.has_more && page.messages[0].deleted && page.messages[0].metadata.is_empty());
    assert_eq!((page.messages[1].body.as_str(), page.messages[1].seq), ("hi", 5));
    let seen = client.get_room(about!(GetRoomRequest, "ann", room)).await.unwrap().into_inner();
    assert_eq!(seen.room.unwrap().unread, 1);
    let read = MarkReadRequest { seq: 5, ..about!(MarkReadRequest, "ann", room) };
    assert_eq!(client.mark_read(read).await.unwrap().into_inner().unread, 0);
    client.set_typing(about!(SetTypingRequest, "bob", room)).await.unwrap();
    client.leave(about!(LeaveRequest, "bob", room)).await.unwrap();
    let replay = ReplayRequest { after: Some(edited), ..about!(ReplayRequest, "bob", room) };
    let replay = client.replay(replay).await.unwrap().into_inner();
    assert!(replay.recovered && !replay.has_more && replay.reason.is_empty());
    assert_eq!(replay.head.unwrap().seq, 8);
    let kinds: Vec<_> = replay.events.into_iter().map(|event| event.kind.unwrap()).collect();
    assert!(matches!(&kinds[0], event::Kind::Message(message) if message.body == "hi"));
    assert!(matches!(&kinds[1], event::Kind::Deleted(deleted) if deleted.message_seq == 3));
    assert!(matches!(&kinds[2], event::Kind::Member(member) if !member.joined));
    assert!(matches!(&kinds[3], event::Kind::Closed(closed)
        if closed.reason == "left" && closed.closer_id == "bob"));
}

#[tokio::test]
async fn refusals_are_typed() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let pair = create(&mut client, RoomKind::Pair, &["ann", "bob"], "x").await;
    let channel = create(&mut client, RoomKind::Channel, &["ann", "bob"], "").await;
    let said = client.send(send("ann", &pair, "k", "said")).await.unwrap().into_inner();
    let other = CreateRoomRequest {
        kind: RoomKind::Pair.into(),
        member_ids: vec!["ann".to_owned(), "cem".to_owned()],
        external_id: "x".to_owned(),
        ..Default::default()
    };
    let edit = |actor: &str, message_id: &str| EditRequest {
        message_id: message_id.to_owned(),
        body: "anew".to_owned(),
        ..about!(EditRequest, actor, pair)
    };
    let beyond = MarkReadRequest { seq: 99, ..about!(MarkReadRequest, "ann", pair) };
    let cases = [
        (failure(client.create_room(other).await), "ALREADY_EXISTS KEY_REUSED external_id"),
        (
            failure(client.send(send("eve", &pair, "k", "x")).await),
            "NOT_FOUND ROOM_NOT_FOUND room_id",
        ),
        (
            failure(client.send(send("eve", &channel, "k", "x")).await),
            "NOT_FOUND ROOM_NOT_FOUND room_id",
        ),
        (
            failure(client.send(send("ann", "none", "k", "x")).await),
            "NOT_FOUND ROOM_NOT_FOUND room_id",
        ),
        (
            failure(client.send(send("ann", &pair, "k", "x")).await),
            "ALREADY_EXISTS KEY_REUSED client_msg_id",
        ),
        (failure(client.edit(edit("ann", "none")).await), "NOT_FOUND MESSAGE_NOT_FOUND message_id"),
        (
            failure(client.edit(edit("bob", &said.message_id)).await),
            "PERMISSION_DENIED NOT_ALLOWED ",
        ),
        (failure(client.mark_read(beyond).await), "INVALID_ARGUMENT MALFORMED seq"),
        (
            failure(client.close_room(about!(CloseRoomRequest, "bob", channel)).await),
            "PERMISSION_DENIED NOT_ALLOWED ",
        ),
    ];
    for ((code, reason, field), expected) in cases {
        assert_eq!(format!("{code} {reason} {field}"), expected);
    }
    let delete =
        DeleteRequest { message_id: said.message_id.clone(), ..about!(DeleteRequest, "ann", pair) };
    client.delete(delete).await.unwrap();
    let (code, reason, _) = failure(client.edit(edit("ann", &said.message_id)).await);
    assert_eq!((code.as_str(), reason.as_str()), ("FAILED_PRECONDITION", "MESSAGE_DELETED"));
    client.close_room(about!(CloseRoomRequest, "bob", pair)).await.unwrap();
    let (code, reason, _) = failure(client.send(send("ann", &pair, "l", "late")).await);
    assert_eq!((code.as_str(), reason.as_str()), ("FAILED_PRECONDITION", "ROOM_CLOSED"));
    let typing = about!(SetTypingRequest, "ann", pair);
    assert_eq!(failure(client.set_typing(typing).await).1, "ROOM_CLOSED");
    assert!(client.send(send("ann", &pair, "k", "said")).await.is_ok(), "a retry is answered");
}

#[tokio::test]
async fn a_foreign_room_is_not_found_whatever_is_asked() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let pair = create(&mut client, RoomKind::Pair, &["ann", "bob"], "").await;
    let direct = create(&mut client, RoomKind::Direct, &["ann", "bob", "eve"], "").await;
    client.leave(about!(LeaveRequest, "eve", direct)).await.unwrap();
    for room in [pair.as_str(), direct.as_str(), "none"] {
        let mut answers = vec![
            failure(client.join(about!(JoinRequest, "eve", room)).await),
            failure(client.list_members(about!(ListMembersRequest, "eve", room)).await),
            failure(client.history(about!(HistoryRequest, "eve", room)).await),
            failure(client.replay(about!(ReplayRequest, "eve", room)).await),
            failure(client.mark_read(about!(MarkReadRequest, "eve", room)).await),
            failure(client.set_typing(about!(SetTypingRequest, "eve", room)).await),
            failure(client.close_room(about!(CloseRoomRequest, "eve", room)).await),
            failure(client.send(send("eve", room, "k", "x")).await),
        ];
        if room != direct {
            answers.push(failure(client.get_room(about!(GetRoomRequest, "eve", room)).await));
            answers.push(failure(client.leave(about!(LeaveRequest, "eve", room)).await));
        }
        for (code, reason, _) in answers {
            assert_eq!((code.as_str(), reason.as_str()), ("NOT_FOUND", "ROOM_NOT_FOUND"));
        }
    }
}

#[tokio::test]
async fn who_left_reads_on_to_their_leave() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    for kind in [RoomKind::Direct, RoomKind::Channel] {
        let room = create(&mut client, kind, &["ann", "bob"], "").await;
        for key in ["a", "b", "c"] {
            client.send(send("bob", &room, key, "for ann")).await.unwrap();
        }
        let log = client.replay(about!(ReplayRequest, "ann", room)).await.unwrap().into_inner();
        let had = |nth: usize| {
            Some(Position { seq: log.events[nth].seq, id: log.events[nth].id.clone() })
        };
        client.leave(about!(LeaveRequest, "ann", room)).await.unwrap();
        client.send(send("bob", &room, "d", "not for ann")).await.unwrap();
        for (limit, seqs) in [(0, vec![5, 6]), (1, vec![5])] {
            let replay =
                ReplayRequest { after: had(3), limit, ..about!(ReplayRequest, "ann", room) };
            let replay = client.replay(replay).await.unwrap().into_inner();
            let got: Vec<_> = replay.events.iter().map(|event| event.seq).collect();
            assert_eq!((&got, replay.has_more), (&seqs, limit == 1));
            let head = replay.head.unwrap();
            assert!(replay.recovered && head.seq == 6);
            if let Some(event::Kind::Member(left)) = &replay.events.last().unwrap().kind {
                assert_eq!((left.user_id.as_str(), left.joined), ("ann", false));
                assert_eq!(head.id, replay.events.last().unwrap().id);
            }
        }
        let log = client.replay(about!(ReplayRequest, "bob", room)).await.unwrap().into_inner();
        let at = |nth: usize, id: &str| Some(Position { seq: nth as u64, id: id.to_owned() });
        let leave = at(6, &log.events[5].id);
        // The whole log, one that they do not know, theirs, and what is beyond.
        for after in [None, at(4, "unknown"), leave, at(7, &log.events[6].id), at(99, "x")] {
            let replay = ReplayRequest { after, ..about!(ReplayRequest, "ann", room) };
            let (code, reason, _) = failure(client.replay(replay).await);
            assert_eq!((code.as_str(), reason.as_str()), ("NOT_FOUND", "ROOM_NOT_FOUND"));
        }
    }
    // A member again reads all of it.
    let room = create(&mut client, RoomKind::Channel, &["ann", "bob"], "").await;
    client.leave(about!(LeaveRequest, "ann", room)).await.unwrap();
    client.join(about!(JoinRequest, "ann", room)).await.unwrap();
    let replay = client.replay(about!(ReplayRequest, "ann", room)).await.unwrap().into_inner();
    assert_eq!((replay.events.len(), replay.head.unwrap().seq), (4, 4));
}

#[tokio::test]
async fn lists_are_paged_and_shared_rooms_told() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let mut rooms = Vec::new();
    for n in 0..7 {
        rooms.push(create(&mut client, RoomKind::Pair, &["ann", "bob"], &n.to_string()).await);
        stage.clock.advance(1);
    }
    rooms.reverse();
    let (mut seen, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = ListRoomsRequest { actor: "ann".to_owned(), page_size: 3, page_token };
        let page = client.list_rooms(request).await.unwrap().into_inner();
        seen.extend(page.rooms.into_iter().map(|room| room.room_id));
        (page_token, pages) = (page.next_page_token, pages + 1);
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((seen, pages), (rooms.clone(), 3));
    let user_ids: Vec<_> = ["cem", "bob"].map(str::to_owned).into();
    let shared = SharedRoomsRequest { actor: "ann".to_owned(), user_ids };
    assert_eq!(client.shared_rooms(shared).await.unwrap().into_inner().user_ids, ["bob"]);
    let members = client.list_members(about!(ListMembersRequest, "bob", rooms[0])).await.unwrap();
    let members = members.into_inner().members;
    assert_eq!((members[0].user_id.as_str(), members[1].user_id.as_str()), ("ann", "bob"));
    let after = Some(Position { seq: 3, id: "x".to_owned() });
    let replay = ReplayRequest { after, ..about!(ReplayRequest, "ann", rooms[0]) };
    let replay = client.replay(replay).await.unwrap().into_inner();
    assert_eq!(
        (replay.recovered, replay.reason.as_str(), replay.events.len()),
        (false, "beyond_head", 2)
    );
}

#[tokio::test]
async fn one_actors_external_ids_say_nothing_of_anothers() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let lobby = |actor: &str| CreateRoomRequest {
        actor: actor.to_owned(),
        kind: RoomKind::Channel.into(),
        external_id: "lobby".to_owned(),
        ..Default::default()
    };
    let anns = client.create_room(lobby("ann")).await.unwrap().into_inner();
    let again = client.create_room(lobby("ann")).await.unwrap().into_inner();
    let bobs = client.create_room(lobby("bob")).await.unwrap().into_inner();
    assert_eq!((anns.created, again.created, bobs.created), (true, false, true));
    let id = |answer: CreateRoomResponse| answer.room.unwrap().room_id;
    let anns = id(anns);
    assert_eq!(id(again), anns);
    assert_ne!(id(bobs), anns);
}
