//! Thousands of connections that never say what they want.

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use mingle_client::ws::{Encoding, Incoming, close::Close, proto::Position};
use mingle_testkit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::world::{SOON, World, logged, next_event};

const CONNECTIONS: usize = 5000;
/// Of these, so many speak WebSocket and say no hello.
const SILENT: usize = 100;
/// Long enough that all are there at once, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Files that the process opens and closes by itself, at most.
const OTHERS: usize = 10;
/// What one of them may cost.
const EACH_KIB: u64 = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_cost_little_and_end() {
    let patience = PATIENCE.as_millis().to_string();
    let builder = World::builder()
        .env("MINGLE_GATEWAY__LIMITS__HELLO_TIMEOUT_MS", patience)
        .env("MINGLE_GATEWAY__LIMITS__ACCEPTS_PER_SECOND", CONNECTIONS.to_string());
    let world = World::from(builder).await;
    let room = world.room(&["ann", "bob"]).await;
    let files = open_files(world.mingle().pid());
    let before = world.mingle().rss_kib();

    let mut half_open = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        half_open.push(begin(world.http(), number).await);
    }
    let mut silent = Vec::with_capacity(SILENT);
    for _ in 0..SILENT {
        silent.push(world.socket(Encoding::Json).await);
    }
    let all = files + CONNECTIONS + SILENT - OTHERS;
    let all_there = async || open_files(world.mingle().pid()) >= all;
    eventually(SOON, "all are accepted at once", all_there).await;
    let cost = world.mingle().rss_kib().saturating_sub(before) / CONNECTIONS as u64;
    eprintln!("{cost} KiB for each half-open connection");
    assert!(cost < EACH_KIB, "{cost} KiB for each half-open connection");

    // Others are served meanwhile.
    let mut ann = world.client("ann", Encoding::Json).await;
    let mut bob = world.client("bob", Encoding::Proto).await;
    bob.room_join(&room, Some(Position::default())).await.unwrap();
    let sent = ann.send(&room, "m1", "are you there?").await.unwrap();
    while logged(&next_event(&mut bob).await.unwrap()).unwrap().1.seq < sent.seq {}
    assert!(open_files(world.mingle().pid()) >= all, "they were gone before");

    for ended in join_all(half_open.into_iter().map(end)).await {
        // Nothing at all, or that the request took too long.
        assert!(ended.is_empty() || ended.starts_with(b"HTTP/1.1 408"), "{ended:?}");
    }
    for mut socket in silent {
        match socket.next().await.unwrap() {
            Incoming::Closed(code, _) => assert_eq!(code, Close::HelloTimeout.code()),
            Incoming::Frame(frame) => panic!("{frame:?}"),
        }
    }
    ann.send(&room, "m2", "still here").await.unwrap();
    let all_gone = async || open_files(world.mingle().pid()) <= files + OTHERS;
    eventually(SOON, "their files are closed", all_gone).await;
}

/// Opens a connection that says nothing, or half of a request's head.
async fn begin(addr: SocketAddr, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let half: &[u8] = match number % 3 {
        0 => b"",
        1 => b"GET /ws HT",
        _ => b"GET /ws HTTP/1.1\r\nHost: mingle\r\nUpgrade: webso",
    };
    stream.write_all(half).await.unwrap();
    stream
}

/// Reads to the end, which the server makes.
async fn end(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // A reset is an end too.
    let end = timeout(PATIENCE + SOON, stream.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "a half-open connection is still there");
    answer
}

/// Files and sockets that the process holds.
fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}
