//! The keeper of servers, over shell scripts in place of servers.

use mingle_testkit::{Server, eventually};
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(20);
const HOLD: &str = "MINGLE_KIT_HOLD";

/// A server with one child, both of which ignore being asked to end.
const STUBBORN: &str = r#"
    trap '' TERM
    sh -c 'trap "" TERM; echo "child $$"; while :; do sleep 0.01; done' &
    echo "says $1"
    while :; do sleep 0.01; done"#;

fn start(server: &Server) {
    server.start(OsStr::new("sh"), &["-c", STUBBORN, "name", "it's $HOME"].map(Into::into));
}

fn state(pid: u32) -> Option<char> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    line.rsplit_once(") ")?.1.chars().next()
}

fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

async fn child(server: &Server) -> u32 {
    eventually(SOON, "the child tells its id", async || {
        server.log().lines().rev().find_map(|line| line.strip_prefix("child ")?.parse().ok())
    })
    .await
}

#[tokio::test]
async fn a_server_is_frozen_thawed_killed_and_started_again() {
    let server = Server::prepare("stubborn", "TERM");
    start(&server);
    let (first, below) = (server.pid(), child(&server).await);
    eventually(SOON, "the server's own words", async || server.log().contains("says it's $HOME\n"))
        .await;
    let command = fs::read_to_string(format!("/proc/{first}/cmdline")).unwrap();
    assert!(command.contains("it's"), "the pid is the server's own: {command}");

    server.freeze();
    assert_eq!((state(first), state(below)), (Some('T'), Some('T')));
    assert!(server.is_running());
    server.thaw();
    eventually(SOON, "both go on", async || state(first) != Some('T') && state(below) != Some('T'))
        .await;

    server.kill();
    assert!(!server.is_running() && !lives(first) && !lives(below));
    server.kill();
    start(&server);
    assert_ne!(server.pid(), first);
    assert!(server.is_running());

    let (folder, second) = (server.folder().to_owned(), server.pid());
    server.freeze();
    drop(server);
    assert!(!lives(second) && !folder.exists());
}

/// A shell stands still only when the child that it has just begun (vfork) has gone on.
#[tokio::test]
async fn a_server_that_starts_children_all_the_time_is_frozen() {
    let server = Server::prepare("busy", "TERM");
    let script = "echo up; while :; do /bin/true; done";
    server.start(OsStr::new("sh"), &["-c", script].map(Into::into));
    eventually(SOON, "it is up", async || server.log().contains("up\n")).await;
    for _ in 0..500 {
        server.freeze();
        assert_eq!(state(server.pid()), Some('T'));
        server.thaw();
    }
}

/// The part of the test below that is killed; alone it does nothing.
#[tokio::test]
async fn held() {
    if std::env::var_os(HOLD).is_some() {
        let server = Server::prepare("held", "TERM");
        start(&server);
        let below = child(&server).await;
        println!("holds {} {below} {}", server.pid(), server.folder().display());
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_server_ends_with_a_test_process_that_is_killed() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::held", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said =
        lines.filter_map(|line| Some(line.split_once("holds ")?.1.to_owned())).next().unwrap();
    let words: Vec<&str> = said.split(' ').collect();
    let (server, below) = (words[0].parse().unwrap(), words[1].parse().unwrap());
    assert!(lives(server) && lives(below) && Path::new(words[2]).exists());
    process.kill().unwrap();
    process.wait().unwrap();
    eventually(SOON, "server, child and folder are gone", async || {
        !lives(server) && !lives(below) && !Path::new(words[2]).exists()
    })
    .await;
}
