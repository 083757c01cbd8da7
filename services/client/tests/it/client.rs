//! Requests, replies and events.

use std::time::Duration;

use mingle_client::{
    close::{Close, Retry},
    ws::{
        Client, Encoding, Error, Limits, Socket,
        proto::{
            Draining, Error as Refusal, Gap, MatchJoin, Pong, Position, Room, Sent, Ticket,
            Welcome, client_frame::Kind as Asked, server_frame::Kind,
        },
    },
};

use crate::gateway::{Gateway, Listening};

async fn pair(limits: Limits) -> (Client, Gateway) {
    let (listening, url) = Listening::new().await;
    let connecting = Socket::connect(&url, Encoding::Json);
    let (socket, gateway) = tokio::join!(connecting, listening.accept());
    (Client::over(socket.unwrap(), limits), gateway)
}

fn gap(room: &str) -> Kind {
    Kind::Gap(Gap { room_id: room.to_owned() })
}

#[tokio::test]
async fn a_reply_is_found_by_its_id_and_events_wait_in_order() {
    let (mut client, mut gateway) = pair(Limits::default()).await;
    let gateway = tokio::spawn(async move {
        let (id, asked) = gateway.asked().await;
        let Asked::Send(send) = asked else { panic!("{asked:?}") };
        gateway.say(None, gap("one")).await;
        gateway.say(Some(id + 7), Kind::Pong(Pong {})).await;
        gateway.say(None, gap("two")).await;
        let sent = Sent { message_id: send.client_msg_id, seq: 7, ..Sent::default() };
        gateway.say(Some(id), Kind::Sent(sent)).await;
        gateway.say(None, gap("three")).await;
        gateway
    });
    let sent = client.send("room", "key", "hi").await.unwrap();
    assert_eq!((sent.message_id.as_str(), sent.seq), ("key", 7));
    assert_eq!(client.waiting(), 2);
    let third = |event: &Kind| (*event == gap("three")).then_some(3);
    assert_eq!(client.event_where(third).await.unwrap(), 3);
    assert_eq!(client.event().await.unwrap(), gap("one"));
    assert_eq!(client.event().await.unwrap(), gap("two"));
    gateway.await.unwrap();
}

#[tokio::test]
async fn a_refusal_and_an_unexpected_reply_are_errors_of_that_request_only() {
    let (mut client, mut gateway) = pair(Limits::default()).await;
    let gateway = tokio::spawn(async move {
        let (id, _) = gateway.asked().await;
        let reason = "ROOM_NOT_FOUND".to_owned();
        gateway.say(Some(id), Kind::Error(Refusal { reason, ..Refusal::default() })).await;
        let (id, _) = gateway.asked().await;
        gateway.say(Some(id), Kind::Pong(Pong {})).await;
        let (id, _) = gateway.asked().await;
        gateway.say(Some(id), Kind::Room(Room::default())).await;
    });
    assert_eq!(client.room_join("r", None).await.unwrap_err().reason(), "ROOM_NOT_FOUND");
    let unexpected = client.room_join("r", None).await.unwrap_err();
    assert!(matches!(unexpected, Error::Unexpected(_)), "{unexpected}");
    client.room_join("r", Some(Position { seq: 1, id: "x".to_owned() })).await.unwrap();
    gateway.await.unwrap();
}

#[tokio::test]
async fn a_hello_gives_what_resumes_the_session() {
    let (mut client, mut gateway) = pair(Limits::default()).await;
    assert!(client.resume([]).is_none());
    let gateway = tokio::spawn(async move {
        let (id, asked) = gateway.asked().await;
        assert!(matches!(asked, Asked::Hello(hello) if hello.token == "jwt"));
        let resume_token = "again".to_owned();
        gateway.say(Some(id), Kind::Welcome(Welcome { resume_token, ..Welcome::default() })).await;
    });
    client.hello("jwt", None).await.unwrap();
    let resume = client.resume([("r".to_owned(), Position::default())]).unwrap();
    assert_eq!((resume.token.as_str(), resume.rooms.len()), ("again", 1));
    gateway.await.unwrap();
}

#[tokio::test]
async fn wants_are_lists_of_texts() {
    let (mut client, mut gateway) = pair(Limits::default()).await;
    let gateway = tokio::spawn(async move {
        let (id, asked) = gateway.asked().await;
        gateway.say(Some(id), Kind::Ticket(Ticket::default())).await;
        asked
    });
    let wants: &[(&str, &[&str])] = &[("gender", &["male", "female"])];
    client.match_join("random-chat", &[("gender", "female")], wants).await.unwrap();
    let expected = r#"{"pool":"random-chat","attributes":{"gender":"female"},"wants":{"gender":["male","female"]}}"#;
    let expected: MatchJoin = serde_json::from_str(expected).unwrap();
    assert_eq!(gateway.await.unwrap(), Asked::MatchJoin(expected));
}

#[tokio::test]
async fn without_a_reply_the_request_times_out_and_its_late_reply_is_skipped() {
    let limits = Limits { reply: Duration::from_millis(50), ..Limits::default() };
    let (mut client, mut gateway) = pair(limits).await;
    assert!(matches!(client.ping().await, Err(Error::Timeout)));
    let (late, _) = gateway.asked().await;
    gateway.say(Some(late), Kind::Pong(Pong {})).await;
    gateway.say(None, gap("after")).await;
    assert_eq!(client.event().await.unwrap(), gap("after"));
}

#[tokio::test]
async fn events_that_nobody_takes_have_a_bound() {
    let (mut client, mut gateway) = pair(Limits { events: 2, ..Limits::default() }).await;
    for room in ["one", "two", "three"] {
        gateway.say(None, gap(room)).await;
    }
    assert!(matches!(client.ping().await, Err(Error::Backlog(2))));
    assert_eq!(client.waiting(), 2);
    for room in ["one", "two", "three"] {
        assert_eq!(client.event().await.unwrap(), gap(room));
    }
}

#[tokio::test]
async fn the_end_comes_with_its_rule() {
    let (mut client, mut gateway) = pair(Limits::default()).await;
    gateway.say(None, Kind::Draining(Draining { retry_after_ms: 500 })).await;
    gateway.close(Close::Draining.code(), Close::Draining.reason()).await;
    assert!(matches!(client.event().await.unwrap(), Kind::Draining(_)));
    let close = client.event().await.unwrap_err().close().unwrap();
    assert_eq!((close, close.retry()), (Close::Draining, Retry::AfterDelay));
}

#[tokio::test]
async fn a_silent_gateway_is_asked_for_a_sign_of_life() {
    let (mut client, mut gateway) = pair(Limits::default()).await;
    let greeting = tokio::spawn(async move {
        let (id, _) = gateway.asked().await;
        let welcome = Welcome { ping_interval_ms: 20, ..Welcome::default() };
        gateway.say(Some(id), Kind::Welcome(welcome)).await;
        for _ in 0..2 {
            let (id, asked) = gateway.asked().await;
            assert!(matches!(asked, Asked::Ping(_)));
            gateway.say(Some(id), Kind::Pong(Pong {})).await;
        }
        gateway.say(None, gap("at last")).await;
    });
    client.hello("jwt", None).await.unwrap();
    assert_eq!(client.event().await.unwrap(), gap("at last"));
    greeting.await.unwrap();
}
