//! A server that answers and does not serve: no memory, no disk, no leave, no
//! time, another's data. Each is its own answer, all are an outage that ends by
//! itself, and none is asked without pause.

use std::{error::Error as _, sync::Arc, time::Duration};

use mingle_store::{
    Error, ErrorKind,
    redis::{Generation, Redis, Script},
};
use mingle_testkit::{Redis as Server, eventually};
use tokio::time::Instant;

use super::{SOON, connect, connected, log::Log, small};

static PUSH: Script = Script::new("push", "return redis.call('RPUSH', KEYS[1], 'x')");

/// As long as the pauses between attempts need to show.
const HAMMERED: Duration = Duration::from_secs(4);
/// In so long, of two connections whose pauses grow to a second: about ten each.
const ATTEMPTS: u64 = 40;

fn set() -> redis::Cmd {
    redis::cmd("SET").arg("mingle:{r}:k").arg("v").to_owned()
}

/// What the server said of a call.
fn said(error: &Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Until the server's refusal is met, by whatever call.
async fn refused(redis: &Redis, word: &str) {
    eventually(SOON, word, async || {
        let error = redis.query::<()>(&set()).await.err()?;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?} {}", said(&error));
        said(&error).contains(word).then_some(())
    })
    .await;
}

async fn away(redis: &Redis) {
    eventually(SOON, "it counts as away", async || !redis.is_connected()).await;
    let error = redis.query::<String>(&small()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

async fn serves(redis: &Redis) {
    connected(redis).await;
    redis.query::<()>(&set()).await.unwrap();
}

fn connections(server: &Server) -> u64 {
    let stats = server.cli(&["INFO", "stats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().trim().parse().unwrap()
}

fn generation(redis: &Redis) -> Generation {
    redis.fence().borrow().clone().unwrap()
}

/// Calls without pause while the server refuses: how many connections that cost.
async fn hammer(server: &Server, redis: &Redis) -> u64 {
    let (begin, before) = (Instant::now(), connections(server));
    let mut calls = 0_u64;
    while begin.elapsed() < HAMMERED {
        let error = redis.query::<()>(&set()).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        calls += 1;
        tokio::task::yield_now().await;
    }
    assert!(calls > 100, "{calls} calls");
    connections(server) - before
}

#[tokio::test]
async fn one_without_memory_is_away_until_it_has_some() {
    let (log, _guard) = Log::keep();
    let server = Server::start().await;
    let redis = connect(&server).await;
    let before = generation(&redis);
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    refused(&redis, "OOM").await;
    let script = redis.run::<i64>(&PUSH, &["mingle:{r}:l".into()], &[]).await;
    assert_eq!(script.unwrap_err().kind(), ErrorKind::Unavailable);
    away(&redis).await;
    let cost = hammer(&server, &redis).await;
    assert!(cost <= ATTEMPTS, "{cost} connections");
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    serves(&redis).await;
    assert_eq!(generation(&redis), before, "nothing was lost");
    let told = log.text().matches("redis refuses").count();
    assert_eq!(told, 1, "{}", log.text());
}

/// Its data and its run id are the same: only a write tells.
#[tokio::test]
async fn one_that_follows_another_is_left_and_not_asked_without_pause() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    refused(&redis, "read only replica").await;
    away(&redis).await;
    let cost = hammer(&server, &redis).await;
    assert!((1..=ATTEMPTS).contains(&cost), "{cost} connections");
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    serves(&redis).await;
}

#[tokio::test]
async fn one_that_took_anothers_data_is_not_believed_as_before() {
    let (server, other) = (Server::start().await, Server::start().await);
    let redis = connect(&server).await;
    let before = generation(&redis);
    assert_eq!(other.cli(&["SET", "other", "data"]), "OK");
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]), "OK");
    eventually(SOON, "the other's data", async || server.cli(&["GET", "other"]) == "data").await;
    away(&redis).await;
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    serves(&redis).await;
    assert_ne!(generation(&redis), before);
}

#[tokio::test]
async fn a_replica_whose_master_is_down_is_away_for_reads_too() {
    let server = Server::start_with(&[("replica-serve-stale-data", "no")]).await;
    let redis = connect(&server).await;
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    let get = redis::cmd("GET").arg("mingle:{r}:k").to_owned();
    eventually(SOON, "MASTERDOWN", async || {
        let error = redis.query::<Option<String>>(&get).await.err()?;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        Some(())
    })
    .await;
    away(&redis).await;
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    serves(&redis).await;
}

#[tokio::test]
async fn one_that_cannot_save_is_away_until_it_can() {
    let server =
        Server::start_with(&[("appendonly", "no"), ("enable-protected-configs", "yes")]).await;
    let redis = connect(&server).await;
    let folder = server.server().folder().join("gone");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.to_str().unwrap();
    assert_eq!(server.cli(&["CONFIG", "SET", "dir", path]), "OK");
    std::fs::remove_dir(&folder).unwrap();
    assert_eq!(server.cli(&["CONFIG", "SET", "save", "3600 1"]), "OK");
    let _ = server.cli(&["BGSAVE"]);
    refused(&redis, "MISCONF").await;
    away(&redis).await;
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(server.cli(&["CONFIG", "SET", "dir", path]), "OK");
    let _ = server.cli(&["BGSAVE"]);
    serves(&redis).await;
}

#[tokio::test]
async fn one_without_enough_replicas_is_away_until_it_may_write() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    assert_eq!(server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "OK");
    refused(&redis, "NOREPLICAS").await;
    away(&redis).await;
    assert_eq!(server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "OK");
    serves(&redis).await;
}

#[tokio::test]
async fn one_that_takes_away_a_leave_is_told_of_and_no_defect() {
    let (log, _guard) = Log::keep();
    let server = Server::start().await;
    let redis = connect(&server).await;
    assert_eq!(server.cli(&["ACL", "SETUSER", "default", "-set"]), "OK");
    refused(&redis, "permission").await;
    // What it may it does: the beat is another command.
    connected(&redis).await;
    assert!(log.text().contains("redis refuses"), "{}", log.text());
    assert_eq!(server.cli(&["ACL", "SETUSER", "default", "-rpush"]), "OK");
    let key = redis.key("leave", "n");
    let error = redis.run::<i64>(&PUSH, std::slice::from_ref(&key), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(server.cli(&["ACL", "SETUSER", "default", "-hset"]), "OK");
    away(&redis).await;
    assert_eq!(server.cli(&["ACL", "SETUSER", "default", "+@all"]), "OK");
    serves(&redis).await;
}

#[tokio::test]
async fn one_in_a_script_without_end_is_away_until_that_is_killed() {
    let server = Arc::new(Server::start().await);
    let redis = connect(&server).await;
    assert_eq!(server.cli(&["CONFIG", "SET", "busy-reply-threshold", "1"]), "OK");
    let asks = server.clone();
    // A thread of its own: the end of a failing test does not wait for it.
    let stuck = std::thread::spawn(move || asks.cli(&["EVAL", "while true do end", "0"]));
    refused(&redis, "BUSY").await;
    away(&redis).await;
    assert_eq!(server.cli(&["SCRIPT", "KILL"]), "OK");
    assert!(stuck.join().unwrap().contains("Script killed"));
    serves(&redis).await;
}

/// Not over before a beat could be refused, and long enough that one is.
#[tokio::test]
async fn one_that_reads_its_data_is_away_until_it_has() {
    let settings = [("key-load-delay", "20"), ("loading-process-events-interval-bytes", "1024")];
    let server = Server::start_with(&settings).await;
    let redis = connect(&server).await;
    let before = generation(&redis);
    let fill = "for n = 1, 200000 do redis.call('SET', 'filler:' .. n, 'x') end return 1";
    assert_eq!(server.cli(&["EVAL", fill, "0"]), "1");
    server.kill();
    server.begin();
    let mut loading = 0;
    eventually(SOON * 3, "its data", async || {
        let error = redis.query::<()>(&set()).await.err();
        loading += u32::from(server.try_cli(&["PING"]).is_some_and(|it| it.contains("LOADING")));
        if let Some(error) = &error {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        }
        error.is_none()
    })
    .await;
    assert!(loading > 0, "it was never met loading");
    serves(&redis).await;
    assert_ne!(generation(&redis), before);
}

#[tokio::test]
async fn data_that_is_emptied_under_a_server_that_lives_on_is_noticed() {
    let server = Server::start().await;
    let (one, two) = (connect(&server).await, connect(&server).await);
    let before = generation(&one);
    assert_eq!(server.cli(&["FLUSHALL"]), "OK");
    eventually(SOON, "one new generation for both", async || {
        generation(&one) == generation(&two) && generation(&one) != before
    })
    .await;
    let held = server.cli(&["HGET", "mingle:{fence}", "generation"]);
    assert_eq!(held, generation(&one).as_str());
}
