//! Clients that send a byte now and then, so that nothing of theirs is ever
//! whole: heads of requests, hellos, and frames of a greeted socket. Each ends
//! by the time that it may take, and costs a bounded memory until then.

use std::time::Duration;

use mingle_client::ws::{
    Encoding,
    close::Close,
    proto::{ClientFrame, Hello, Position, client_frame},
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::{client_async, tungstenite::client::IntoClientRequest as _};

use crate::world::{SOON, World, logged, next_event, token};

/// Of each kind.
const EACH: usize = 200;
/// What a head and a hello may take.
const PATIENCE: Duration = Duration::from_secs(6);
/// What a greeted socket may be silent.
const DEAD: Duration = Duration::from_secs(8);
/// Between two bytes: the connection is never silent for as long as it may be.
const PAUSE: Duration = Duration::from_millis(400);
/// What one of them may cost.
const EACH_KIB: u64 = 64;
/// As much as a message may have, of which they send a few bytes.
const ANNOUNCED: u64 = 256 * 1024;

/// What never becomes whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Head,
    Hello,
    Frame,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_a_byte_now_and_then_costs_little_and_ends() {
    let ms = |time: Duration| time.as_millis().to_string();
    let builder = World::builder()
        .env("MINGLE_GATEWAY__LIMITS__HELLO_TIMEOUT_MS", ms(PATIENCE))
        .env("MINGLE_GATEWAY__LIMITS__PING_INTERVAL_MS", ms(DEAD / 2))
        .env("MINGLE_GATEWAY__LIMITS__DEAD_AFTER_MS", ms(DEAD));
    let world = World::from(builder).await;
    let room = world.room(&["ann", "bob"]).await;
    // The process at work, before anybody is slow.
    let mut ann = world.client("ann", Encoding::Json).await;
    ann.send(&room, "m0", "before").await.unwrap();
    let before = world.mingle().rss_kib();

    let mut trickling = Vec::new();
    for kind in [Kind::Head, Kind::Hello, Kind::Frame] {
        for number in 0..EACH {
            let begun = begin(&world, kind, number).await;
            trickling.push((kind, tokio::spawn(trickle(begun))));
        }
    }
    // Others are served meanwhile.
    let mut bob = world.client("bob", Encoding::Proto).await;
    bob.room_join(&room, Some(Position::default())).await.unwrap();
    let (mut most, mut number, mut ended) = (before, 0, [0; 3]);
    while trickling.iter().any(|(_, it)| !it.is_finished()) {
        number += 1;
        let sent = ann.send(&room, &format!("m{number}"), "still there?").await.unwrap();
        while logged(&next_event(&mut bob).await.unwrap()).unwrap().1.seq < sent.seq {}
        most = most.max(world.mingle().rss_kib());
    }
    for (kind, it) in trickling {
        let (bytes, answer) = it.await.unwrap();
        assert!(bytes > 2, "{kind:?} ended after {bytes} bytes");
        assert_told(kind, &answer);
        ended[kind as usize] += 1;
    }
    assert_eq!(ended, [EACH; 3]);
    let cost = (most - before) / (3 * EACH) as u64;
    eprintln!("{number} messages meanwhile; {cost} KiB for each who trickled");
    assert!(cost < EACH_KIB, "{cost} KiB for each who trickled");
}

/// A connection, and what it goes on to send byte by byte.
async fn begin(world: &World, kind: Kind, number: usize) -> (TcpStream, Vec<u8>) {
    let stream = TcpStream::connect(world.http()).await.unwrap();
    if kind == Kind::Head {
        return (stream, b"GET /ws HTTP/1.1\r\nHost: mingle\r\nX-Slow: ".to_vec());
    }
    let mut request = world.url().into_client_request().unwrap();
    let proto = Encoding::Proto.subprotocol().parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", proto);
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    if kind == Kind::Frame {
        let hello = Hello { token: token(&format!("slow-{number}")), resume: None };
        let frame = ClientFrame {
            id: 1,
            kind: Some(client_frame::Kind::Hello(hello)),
            ..ClientFrame::default()
        };
        let frame = tokio_tungstenite::tungstenite::Message::binary(frame.encode_to_vec());
        futures::SinkExt::send(&mut socket, frame).await.unwrap();
        futures::StreamExt::next(&mut socket).await.unwrap().unwrap();
    }
    // The head of a masked binary frame of 64-bit length.
    let mut head = vec![0x82, 0xff];
    head.extend_from_slice(&ANNOUNCED.to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    (socket.into_inner(), head)
}

/// Sends what was begun at once, then a byte now and then, until the server
/// ends it. Answers how many, and what the server said.
async fn trickle((stream, begun): (TcpStream, Vec<u8>)) -> (usize, Vec<u8>) {
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(&begun).await.unwrap();
    let mut answer = Vec::new();
    let mut bytes = 0;
    let mut pace = interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let read = timeout(SOON, reader.read_to_end(&mut answer));
    let write = async {
        loop {
            pace.tick().await;
            if writer.write_all(b"x").await.is_err() {
                break;
            }
            bytes += 1;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // A reset is an end too.
        read = read => assert!(read.is_ok(), "it is still there"),
        () = write => {}
    }
    (bytes, answer)
}

fn assert_told(kind: Kind, answer: &[u8]) {
    // A close frame's code follows its two bytes of head.
    let says = |close: Close| answer.windows(2).any(|two| two == close.code().to_be_bytes());
    match kind {
        // Nothing at all, or that the request took too long.
        Kind::Head => assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408")),
        Kind::Hello => assert!(says(Close::HelloTimeout), "{answer:?}"),
        Kind::Frame => assert!(says(Close::Idle), "{answer:?}"),
    }
}
