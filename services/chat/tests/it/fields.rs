//! Bad input: a typed error that names the field, and nothing else happens.

use std::collections::HashMap;

use mingle_proto::chat::v1::{
    CreateRoomRequest, EditRequest, GetRoomRequest, HistoryRequest, ListRoomsRequest, Position,
    ReplayRequest, RoomKind, SendRequest, SharedRoomsRequest,
};

use crate::stage::{Client, Stage, failure};

fn send(room_id: &str) -> SendRequest {
    SendRequest {
        actor: "ann".to_owned(),
        room_id: room_id.to_owned(),
        client_msg_id: "k".to_owned(),
        body: "hello".to_owned(),
        metadata: HashMap::new(),
    }
}

fn create(kind: RoomKind, actor: &str, members: &[&str]) -> CreateRoomRequest {
    CreateRoomRequest {
        actor: actor.to_owned(),
        kind: kind.into(),
        member_ids: members.iter().map(|user| (*user).to_owned()).collect(),
        ..Default::default()
    }
}

async fn pair(client: &mut Client) -> String {
    let made = client.create_room(create(RoomKind::Pair, "", &["ann", "bob"])).await.unwrap();
    made.into_inner().room.unwrap().room_id
}

#[track_caller]
fn invalid<T: std::fmt::Debug>(result: Result<T, tonic::Status>, reason: &str, field: &str) {
    let expected = ("INVALID_ARGUMENT".to_owned(), reason.to_owned(), field.to_owned());
    assert_eq!(failure(result), expected);
}

#[tokio::test]
async fn a_message_out_of_bounds_is_refused_by_field() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let room = pair(&mut client).await;
    let many = |entries: usize, bytes: usize| {
        (0..entries).map(|n| (format!("{n:02}"), "v".repeat(bytes))).collect::<HashMap<_, _>>()
    };
    let one = |key: &str, value: &str| HashMap::from([(key.to_owned(), value.to_owned())]);
    type Spoil = Box<dyn Fn(&mut SendRequest)>;
    let bad: Vec<(Spoil, &str, &str)> = vec![
        (Box::new(|s| s.actor.clear()), "REQUIRED", "actor"),
        (Box::new(|s| s.actor = "a".repeat(129)), "TOO_LONG", "actor"),
        (Box::new(|s| s.actor = "a\nb".to_owned()), "MALFORMED", "actor"),
        (Box::new(|s| s.room_id.clear()), "REQUIRED", "room_id"),
        (Box::new(|s| s.room_id = "r".repeat(65)), "TOO_LONG", "room_id"),
        (Box::new(|s| s.client_msg_id.clear()), "REQUIRED", "client_msg_id"),
        (Box::new(|s| s.client_msg_id = "k".repeat(65)), "TOO_LONG", "client_msg_id"),
        (Box::new(|s| s.client_msg_id = "k\u{7}".to_owned()), "MALFORMED", "client_msg_id"),
        (Box::new(|s| s.body.clear()), "REQUIRED", "body"),
        (Box::new(|s| s.body = "b".repeat(8193)), "TOO_LONG", "body"),
        (Box::new(|s| s.body = "ü".repeat(4097)), "TOO_LONG", "body"),
        (Box::new(|s| s.body = "b\0b".to_owned()), "MALFORMED", "body"),
        (Box::new(move |s| s.metadata = many(33, 1)), "TOO_LONG", "metadata"),
        (Box::new(move |s| s.metadata = many(2, 1023)), "TOO_LONG", "metadata"),
        (Box::new(move |s| s.metadata = one("", "v")), "MALFORMED", "metadata"),
        (Box::new(move |s| s.metadata = one("k", "\0")), "MALFORMED", "metadata"),
    ];
    for (spoil, reason, field) in bad {
        let mut request = send(&room);
        spoil(&mut request);
        invalid(client.send(request).await, reason, field);
    }
    assert_eq!(stage.count("select count(*) from chat_log where kind = 1").await, 0);
    // At their bounds all of them are taken.
    let mut request = send(&room);
    request.body = "\u{1F600}".repeat(2048);
    request.client_msg_id = "\u{1F511}".repeat(64);
    request.metadata = many(2, 1022);
    client.send(request).await.unwrap();
    let mut request = send(&room);
    request.metadata = many(32, 1);
    client.send(request).await.unwrap();
    let edit = |body: &str| EditRequest {
        actor: "ann".to_owned(),
        room_id: room.clone(),
        message_id: "m".to_owned(),
        body: body.to_owned(),
    };
    invalid(client.edit(edit("")).await, "REQUIRED", "body");
    let nameless = EditRequest { message_id: String::new(), ..edit("b") };
    invalid(client.edit(nameless).await, "REQUIRED", "message_id");
}

#[tokio::test]
async fn a_room_that_cannot_be_is_refused_by_field() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let crowd: Vec<_> = (0..101).map(|n| format!("user-{n}")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    use RoomKind::{Channel, Direct, Pair, Unspecified};
    for (request, reason, field) in [
        (create(Unspecified, "ann", &[]), "REQUIRED", "kind"),
        (CreateRoomRequest { kind: 77, ..create(Pair, "", &[]) }, "REQUIRED", "kind"),
        (create(Pair, "ann", &["ann", "bob"]), "MALFORMED", "actor"),
        (create(Pair, "", &["ann"]), "MALFORMED", "member_ids"),
        (create(Pair, "", &["ann", "ann"]), "MALFORMED", "member_ids"),
        (create(Pair, "", &["ann", "bob", "cem"]), "TOO_LONG", "member_ids"),
        (create(Pair, "", &["ann", ""]), "REQUIRED", "member_ids"),
        (create(Direct, "", &["ann", "bob"]), "REQUIRED", "actor"),
        (create(Direct, "ann", &["ann"]), "MALFORMED", "member_ids"),
        (create(Direct, "ann", &["bob", "cem"]), "MALFORMED", "member_ids"),
        (create(Direct, "user-0", &crowd[..33]), "TOO_LONG", "member_ids"),
        (create(Channel, "", &[]), "REQUIRED", "actor"),
        (create(Channel, "ann", &crowd), "TOO_LONG", "member_ids"),
        (
            CreateRoomRequest { name: "n".repeat(129), ..create(Channel, "ann", &[]) },
            "TOO_LONG",
            "name",
        ),
        (
            CreateRoomRequest { external_id: "x".repeat(65), ..create(Channel, "ann", &[]) },
            "TOO_LONG",
            "external_id",
        ),
    ] {
        invalid(client.create_room(request).await, reason, field);
    }
    assert_eq!(stage.count("select count(*) from chat_rooms").await, 0);
    client.create_room(create(Channel, "ann", &crowd[..100])).await.unwrap();
    client.create_room(create(Direct, "user-0", &crowd[..32])).await.unwrap();
}

#[tokio::test]
async fn a_page_out_of_bounds_is_refused_by_field() {
    let stage = Stage::new().await;
    let mut client = stage.serve("").await.client;
    let room_id = pair(&mut client).await;
    let actor = "ann".to_owned();
    let history =
        HistoryRequest { actor: actor.clone(), room_id: room_id.clone(), ..Default::default() };
    invalid(client.history(HistoryRequest { limit: 51, ..history }).await, "MALFORMED", "limit");
    let after = Some(Position { seq: 1, id: String::new() });
    let replay = ReplayRequest { actor: actor.clone(), room_id, after, limit: 201 };
    invalid(client.replay(replay).await, "MALFORMED", "limit");
    let list = |page_size, page_token: &str| ListRoomsRequest {
        actor: "ann".to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    invalid(client.list_rooms(list(51, "")).await, "MALFORMED", "page_size");
    for foreign in
        ["x", "r1.", "r1.1", "r1.zz.0", "r1.1.0", "r2.1.01890000-0000-7000-8000-000000000000"]
    {
        invalid(client.list_rooms(list(0, foreign)).await, "MALFORMED", "page_token");
    }
    let get = GetRoomRequest { actor: String::new(), room_id: "r".to_owned() };
    invalid(client.get_room(get).await, "REQUIRED", "actor");
    let many = (0..257).map(|n| format!("u{n}")).collect();
    let shared = SharedRoomsRequest { actor, user_ids: many };
    invalid(client.shared_rooms(shared).await, "TOO_LONG", "user_ids");
}
