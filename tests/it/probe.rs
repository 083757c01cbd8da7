//! `mingle probe`: whether a process is ready, for the health check of a container.

use std::time::Duration;

use mingle_testkit::Mingle;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const END: Duration = Duration::from_secs(60);

/// Its exit code and what it says of whoever listens there.
async fn probe(listen: &str) -> (i32, String) {
    let builder = Mingle::builder().arg("probe").env("MINGLE_PROBES__LISTEN", listen);
    let finished = builder.run_to_end(END).await;
    (finished.status.code().unwrap(), finished.log)
}

#[tokio::test]
async fn a_process_is_asked_whether_it_is_ready() {
    let mut mingle = Mingle::start().await;
    let at = mingle.probes_addr();
    assert_eq!(probe(&at.to_string()).await, (0, format!("{at}: ready\n")));
    // As the process was told itself.
    let port = at.port();
    assert_eq!(probe(&format!("0.0.0.0:{port}")).await, (0, format!("{at}: ready\n")));
    mingle.freeze();
    assert_eq!(probe(&at.to_string()).await, (1, format!("{at}: no answer within 2 s\n")));
    mingle.kill9();
    let (code, said) = probe(&at.to_string()).await;
    assert!(code == 1 && said.contains("refused"), "{said}");
}

#[tokio::test]
async fn one_that_is_not_ready_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let draining = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut question = [0; 4096];
        let read = stream.read(&mut question).await.unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&question[..read]).into_owned()
    });
    assert_eq!(probe(&at.to_string()).await, (1, format!("{at}: not ready\n")));
    assert!(draining.await.unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
}
