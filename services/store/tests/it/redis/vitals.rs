//! The way to the server and back, and what it says of itself.

use mingle_store::ErrorKind;
use mingle_testkit::Redis as Server;

use super::{connect, executed};

#[tokio::test]
async fn a_round_trip_is_a_value_written_and_read_that_does_not_stay() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let before = (executed(&server, "set"), executed(&server, "get"));
    let took = redis.round_trip("node-1").await.unwrap();
    assert!(!took.is_zero());
    let after = (executed(&server, "set"), executed(&server, "get"));
    assert_eq!(after, (before.0 + 1, before.1 + 1));
    let left: i64 = server.cli(&["PTTL", "mingle:{vitals}:node-1"]).parse().unwrap();
    assert!((1..=10_000).contains(&left), "{left} ms");

    server.kill();
    assert!(redis.round_trip("node-1").await.unwrap_err().is_transient());
}

#[tokio::test]
async fn what_can_be_written_and_not_read_is_no_round_trip() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    assert_eq!(server.cli(&["ACL", "SETUSER", "default", "-get"]), "OK");
    let refused = redis.round_trip("node-1").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
}

#[tokio::test]
async fn a_server_says_what_it_is() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let info = redis.info().await.unwrap();
    let said = server.cli(&["INFO", "server"]);
    let id: String = info.get("run_id").unwrap();
    assert!(said.lines().any(|line| line.trim() == format!("run_id:{id}")), "{id}: {said}");
    assert!(info.get::<u64>("used_memory").unwrap() > 100_000);
}
