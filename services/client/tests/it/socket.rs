//! One connection: both encodings, raw messages, and the end.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use mingle_client::{
    close::Close,
    ws::{
        Dial, Encoding, Error, Incoming, Message, Socket,
        proto::{ClientFrame, Ping, Pong, ServerFrame, client_frame, server_frame},
    },
};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::header::ORIGIN;

use crate::gateway::{Gateway, Listening};

/// For what is bounded at all.
const SOON: Duration = Duration::from_secs(60);

async fn pair(encoding: Encoding) -> (Socket, Gateway) {
    let (listening, url) = Listening::new().await;
    let (socket, gateway) = tokio::join!(Socket::connect(&url, encoding), listening.accept());
    (socket.unwrap(), gateway)
}

#[tokio::test]
async fn frames_travel_in_both_encodings() {
    for encoding in Encoding::ALL {
        let (mut socket, mut gateway) = pair(encoding).await;
        assert_eq!(gateway.encoding, encoding);
        let ping = client_frame::Kind::Ping(Ping {});
        socket
            .send_frame(&ClientFrame { id: 7, kind: Some(ping.clone()), ..ClientFrame::default() })
            .await
            .unwrap();
        assert_eq!(gateway.asked().await, (7, ping));
        let pong = server_frame::Kind::Pong(Pong {});
        gateway.say(Some(7), pong.clone()).await;
        let expected = ServerFrame { id: Some(7), kind: Some(pong) };
        assert_eq!(socket.next().await.unwrap(), Incoming::Frame(expected));
    }
}

#[tokio::test]
async fn the_close_code_and_its_reason_arrive() {
    let (mut socket, mut gateway) = pair(Encoding::Proto).await;
    let (code, reason) = (Close::Superseded.code(), Close::Superseded.reason());
    gateway.close(code, reason).await;
    for _ in 0..2 {
        let closed = Incoming::Closed(4009, "superseded".to_owned());
        assert_eq!(socket.next().await.unwrap(), closed);
    }
}

#[tokio::test]
async fn a_lost_connection_is_1006() {
    let (mut socket, gateway) = pair(Encoding::Json).await;
    drop(gateway);
    assert!(matches!(socket.next().await.unwrap(), Incoming::Closed(1006, _)));
}

#[tokio::test]
async fn what_is_no_frame_is_said_to_be_none_and_the_connection_stays() {
    let (mut socket, mut gateway) = pair(Encoding::Json).await;
    for wrong in [Message::text("{"), Message::text(r#"{"news":{}}"#), Message::binary(vec![8])] {
        gateway.stream.send(wrong).await.unwrap();
        assert!(matches!(socket.next().await, Err(Error::Malformed(_))));
    }
    gateway.stream.send(Message::Ping(vec![1].into())).await.unwrap();
    gateway.say(None, server_frame::Kind::Pong(Pong {})).await;
    assert!(matches!(socket.next().await, Ok(Incoming::Frame(_))));
    socket.send_raw(Message::text("not json")).await.unwrap();
    // The gateway's ping was answered before.
    assert_eq!(gateway.stream.next().await.unwrap().unwrap(), Message::Pong(vec![1].into()));
    assert_eq!(gateway.stream.next().await.unwrap().unwrap(), Message::text("not json"));
}

/// A connection on which nothing more can be sent: the gateway reads nothing.
async fn full() -> (Socket, Gateway) {
    let (mut socket, gateway) = pair(Encoding::Proto).await;
    let more = || Message::binary(vec![0; 1 << 20]);
    while timeout(Duration::from_millis(500), socket.send_raw(more())).await.is_ok() {}
    (socket, gateway)
}

/// The goodbye waits behind all that was not taken.
#[tokio::test]
async fn a_gateway_that_reads_nothing_holds_up_no_goodbye() {
    let (socket, gateway) = full().await;
    timeout(SOON, socket.close()).await.expect("a bounded goodbye").unwrap();
    drop(gateway);
}

/// And so does the answer to its own.
#[tokio::test]
async fn a_gateway_that_reads_nothing_is_heard_to_close() {
    let (mut socket, mut gateway) = full().await;
    gateway.close(4010, "draining").await;
    let heard = timeout(SOON, socket.next()).await.expect("a bounded answer").unwrap();
    assert_eq!(heard, Incoming::Closed(4010, "draining".to_owned()));
}

#[tokio::test]
async fn headers_are_sent_and_a_subprotocol_need_not_be_offered() {
    let (listening, url) = Listening::new().await;
    let dial = Dial::new(&url, Encoding::Json).without_subprotocol();
    let dial = dial.header(ORIGIN, "https://example.com");
    let (socket, gateway) = tokio::join!(dial.connect(), listening.accept());
    assert_eq!(socket.unwrap().encoding(), Encoding::Json);
    assert_eq!(gateway.headers.get(ORIGIN).unwrap(), "https://example.com");
    assert!(gateway.headers.get("sec-websocket-protocol").is_none());
    let nobody = Socket::connect("ws://127.0.0.1:1/ws", Encoding::Json).await;
    assert!(matches!(nobody, Err(Error::Connect(_))));
}
