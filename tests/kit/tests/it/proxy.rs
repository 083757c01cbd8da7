//! Each fault does what it says, on a real server.

use std::{net::SocketAddr, time::Duration};

use mingle_testkit::{Fault, Proxy};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

/// Long enough for what comes to come, short enough to wait for what does not.
const MOMENT: Duration = Duration::from_millis(200);
const SOON: Duration = Duration::from_secs(30);

/// A server that says what it is told.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn ask(socket: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    socket.write_all(b"ping").await?;
    hear(socket).await
}

async fn hear(socket: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    let mut answer = [0; 4];
    timeout(SOON, socket.read_exact(&mut answer)).await.expect("an answer or an end")?;
    Ok(answer)
}

#[tokio::test]
async fn what_is_held_passes_later() {
    let proxy = Proxy::to(echo().await).await;
    let mut socket = connect(&proxy).await;
    assert_eq!(&ask(&mut socket).await.unwrap(), b"ping");
    for fault in [Fault::Silent, Fault::NoAnswers, Fault::NoRequests] {
        let before = proxy.traffic();
        proxy.set(fault);
        assert!(timeout(MOMENT, ask(&mut socket)).await.is_err(), "{fault:?}");
        let arrived = proxy.traffic().to_server - before.to_server;
        assert_eq!(arrived, if fault == Fault::NoAnswers { 4 } else { 0 }, "{fault:?}");
        proxy.set(Fault::None);
        assert_eq!(&hear(&mut socket).await.unwrap(), b"ping", "{fault:?}");
    }
    proxy.set(Fault::NoAnswers);
    assert!(timeout(MOMENT, ask(&mut socket)).await.is_err());
    proxy.set(Fault::Silent);
    assert!(timeout(MOMENT, hear(&mut socket)).await.is_err(), "nor what was answered before");
    proxy.set(Fault::None);
    assert_eq!(&hear(&mut socket).await.unwrap(), b"ping");
    assert_eq!((proxy.traffic().connections, proxy.traffic().cut), (1, 0));
}

#[tokio::test]
async fn a_cut_resets_what_is_there_and_what_comes() {
    let proxy = Proxy::to(echo().await).await;
    let mut socket = connect(&proxy).await;
    ask(&mut socket).await.unwrap();
    proxy.set(Fault::Cut);
    let error = hear(&mut socket).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(ask(&mut connect(&proxy).await).await.is_err());
    assert_eq!(proxy.traffic().cut, 2);
    proxy.set(Fault::None);
    assert_eq!(&ask(&mut connect(&proxy).await).await.unwrap(), b"ping");
}

#[tokio::test]
async fn the_stranded_hear_nothing_for_good_and_newcomers_do() {
    let proxy = Proxy::to(echo().await).await;
    let mut stranded = connect(&proxy).await;
    ask(&mut stranded).await.unwrap();
    proxy.strand();
    assert!(timeout(MOMENT, ask(&mut stranded)).await.is_err());
    assert_eq!(&ask(&mut connect(&proxy).await).await.unwrap(), b"ping");
    proxy.set(Fault::Slow(Duration::ZERO));
    proxy.set(Fault::None);
    assert!(timeout(MOMENT, hear(&mut stranded)).await.is_err());
}

#[tokio::test]
async fn a_slow_and_a_narrow_way_take_their_time() {
    let proxy = Proxy::to(echo().await).await;
    let mut socket = connect(&proxy).await;
    for fault in [Fault::Slow(MOMENT), Fault::Narrow(20)] {
        proxy.set(fault);
        let begin = Instant::now();
        ask(&mut socket).await.unwrap();
        assert!(begin.elapsed() >= 2 * MOMENT, "{fault:?}: {:?}", begin.elapsed());
    }
}
