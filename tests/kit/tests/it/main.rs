//! The process harness, over a shell script in place of the command; servers
//! and ways to them, over small ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, also in functions that tests share"
)]

mod proxy;
mod server;

use mingle_testkit::{Builder, Mingle};
use std::{os::unix::process::ExitStatusExt as _, path::Path, time::Duration};

const SOON: Duration = Duration::from_secs(20);

/// Says that it is ready, stays until TERM and then exits with 3.
const READY: &str = r#"
    trap 'echo "stopping"; exit 3' TERM
    echo "data in $MINGLE_DATA__DIR, foreign: ${CARGO_MANIFEST_DIR-none}"
    echo "to stderr" >&2
    echo '{"ready":"gateway","addr":"127.0.0.1:41"}'
    echo '{"ready":"grpc","addr":"127.0.0.1:42"}'
    echo '{"ready":"probes","addr":"127.0.0.1:43"}'
    echo '{"ready":"mingle"}'
    while :; do sleep 0.02; done"#;

fn script(text: &str) -> Builder {
    Mingle::builder().program("/bin/sh").arg("-c").arg(text)
}

fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_ready_process_tells_its_addresses_and_stops_when_asked() {
    let mut mingle = script(READY).start().await;
    assert_eq!(mingle.http_addr().port(), 41);
    assert_eq!(mingle.grpc_addr().port(), 42);
    assert_eq!(mingle.probes_addr().port(), 43);
    assert!(mingle.rss_kib() > 0);
    assert_eq!(mingle.sigterm(SOON).await.code(), Some(3));
    assert!(!lives(mingle.pid()));
    assert!(mingle.log().ends_with("stopping\n"));
    assert!(mingle.log().contains("to stderr"));
    assert!(mingle.log().contains("foreign: none"));
}

#[tokio::test]
async fn a_given_data_folder_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = script(READY).data_dir(folder.path()).start().await;
    assert!(first.log().contains(&format!("data in {}", folder.path().display())));
    first.kill9();
    let status = first.exit(SOON).await;
    assert_eq!(status.signal(), Some(9));
    drop(first);
    assert!(folder.path().exists());
}

#[tokio::test]
async fn a_temporary_data_folder_and_the_process_go_with_the_handle() {
    let mingle = script(READY).start().await;
    let (folder, pid) = (mingle.data_dir().to_owned(), mingle.pid());
    assert!(folder.exists() && lives(pid));
    drop(mingle);
    assert!(!folder.exists() && !lives(pid));
}

#[tokio::test]
async fn what_is_signalled_after_its_end_is_nobody() {
    let mut mingle = script(READY).start().await;
    mingle.kill9();
    mingle.terminate();
    mingle.kill9();
}

#[tokio::test]
async fn a_refused_start_gives_its_status_and_reasons() {
    let refusal = script("echo out; echo \"$WHY\" >&2; exit 2").env("WHY", "REDIS_URL is missing");
    let finished = refusal.run_to_end(SOON).await;
    assert_eq!(finished.status.code(), Some(2));
    assert!(finished.log.contains("REDIS_URL is missing"));
}

#[tokio::test]
#[should_panic(expected = "mingle exited before it was ready: exit status: 4")]
async fn a_process_that_dies_at_start_fails_the_test_at_once() {
    script("exit 4").start().await;
}

#[tokio::test]
#[should_panic(expected = "no listener grpc")]
async fn a_listener_that_is_not_there_is_named() {
    let gateway = r#"echo '{"ready":"mingle"}'; while :; do sleep 0.02; done"#;
    let _ = script(gateway).start().await.grpc_addr();
}
