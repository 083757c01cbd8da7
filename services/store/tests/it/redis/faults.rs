//! Killed connections, a frozen server, a server that is away.

use std::{error::Error as _, slice::from_ref, time::Duration};

use mingle_store::{
    Error, ErrorKind,
    redis::{Options, Redis, Script},
};
use mingle_testkit::{Redis as Server, eventually};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{SOON, connect, connect_with, connected, executed, large, small};

static COUNT: Script = Script::new("count", "return redis.call('INCR', KEYS[1])");
/// Short, since these tests wait for it to pass.
const TIMEOUT: Duration = Duration::from_millis(300);

async fn impatient(server: &Server) -> Redis {
    connect_with(Options { timeout: TIMEOUT, ..Options::new(server.root_url()) }).await
}

/// Calls that must all fail, in far less time than one timeout each.
async fn all_fail_at_once(redis: &Redis) {
    let calls = async {
        for _ in 0..1_000 {
            let error = redis.query::<String>(&small()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        }
    };
    timeout(SOON, calls).await.expect("nothing waits");
}

#[tokio::test]
async fn killed_connections_cost_at_most_one_call_per_slot() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let mut lost = 0;
    for round in 0..20 {
        let killed: u32 = server.cli(&["CLIENT", "KILL", "TYPE", "normal"]).parse().unwrap();
        assert_eq!(killed, 2, "round {round}");
        for command in [small(), large()] {
            let mut failed = Vec::new();
            for _ in 0..10 {
                failed.extend(redis.query::<String>(&command).await.err());
            }
            assert!(failed.len() <= 1, "round {round}: {failed:?}");
            assert!(failed.iter().all(|error| error.kind() == ErrorKind::Unavailable));
            lost += failed.len();
        }
    }
    assert!(lost > 0, "no kill was ever felt");
}

#[tokio::test]
async fn calls_in_flight_on_a_killed_connection_fail_and_the_next_do_not() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    for _ in 0..10 {
        // Answered only by the death of the connection.
        let mut block = redis::cmd("BLPOP");
        block.arg("nothing").arg(0);
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let (redis, block) = (redis.clone(), block.clone());
                tokio::spawn(async move { redis.query::<()>(&block).await })
            })
            .collect();
        eventually(SOON, "a blocked connection", async || {
            server.cli(&["INFO", "clients"]).contains("blocked_clients:1")
        })
        .await;
        assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "2");
        for call in waiting {
            assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
        }
        assert_eq!(redis.query::<String>(&small()).await.unwrap(), "small");
        connected(&redis).await;
    }
}

#[tokio::test]
async fn a_frozen_server_times_out_three_calls_and_then_none_waits() {
    let server = Server::start().await;
    let redis = impatient(&server).await;
    server.freeze();
    let mut timeouts = 0;
    let refused: Error = loop {
        let command = small();
        let call = redis.query::<String>(&command);
        let error = timeout(SOON, call).await.expect("an end").unwrap_err();
        if error.kind() != ErrorKind::Timeout {
            break error;
        }
        timeouts += 1;
    };
    // Beats count, too.
    assert!((1..=3).contains(&timeouts), "{timeouts}");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.source().is_none(), "not asked: {refused:?}");
    all_fail_at_once(&redis).await;
    assert!(!redis.is_connected());

    server.thaw();
    connected(&redis).await;
}

#[tokio::test]
async fn a_frozen_server_is_found_without_traffic() {
    let server = Server::start().await;
    let redis = impatient(&server).await;
    server.freeze();
    eventually(SOON, "the beat to miss it", async || !redis.is_connected()).await;
    server.thaw();
    eventually(SOON, "the connection", async || redis.is_connected()).await;
}

#[tokio::test]
async fn a_script_that_its_caller_gave_up_does_nothing_later() {
    let server = Server::start().await;
    let redis = impatient(&server).await;
    let (script, plain) = (redis.key("late", "script"), redis.key("late", "plain"));
    assert_eq!(redis.run::<i64>(&COUNT, from_ref(&script), &[]).await.unwrap(), 1);
    let before = executed(&server, "evalsha");

    server.freeze();
    let abandoned = (0..5).map(|_| async {
        let incr = redis::cmd("INCR").arg(&plain).to_owned();
        let keys = [script.clone()];
        tokio::join!(redis.run::<i64>(&COUNT, &keys, &[]), redis.query::<i64>(&incr))
    });
    for (run, query) in futures::future::join_all(abandoned).await {
        assert_eq!(run.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(query.unwrap_err().kind(), ErrorKind::Timeout);
    }
    server.thaw();

    // What has no deadline is executed: so was the rest of what was sent.
    eventually(SOON, "the abandoned commands", async || {
        server.cli(&["GET", &plain]) == "5" && executed(&server, "evalsha") == before + 5
    })
    .await;
    assert_eq!(server.cli(&["GET", &script]), "1");
    assert!(server.cli(&["INFO", "errorstats"]).contains("errorstat_LATE:count=5"));
    connected(&redis).await;
    assert_eq!(redis.run::<i64>(&COUNT, &[script], &[]).await.unwrap(), 2);
}

#[tokio::test]
async fn a_late_script_is_unavailable_to_who_still_waits() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    // A deadline in the past of the server's clock, which it does not know.
    let hurried = redis.clone().with_timeout(Duration::ZERO);
    let error = hurried.run::<i64>(&COUNT, &[redis.key("late", "n")], &[]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let mut late = redis::cmd("EVAL");
    late.arg("return redis.error_reply('LATE the caller has given up')").arg(0);
    let error = redis.query::<()>(&late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(server.cli(&["EXISTS", &redis.key("late", "n")]), "0");
}

#[tokio::test]
async fn the_impatience_of_one_caller_costs_nobody_the_connection() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let hurried = redis.clone().with_timeout(Duration::from_millis(20));
    server.freeze();
    for _ in 0..5 {
        let error = hurried.query::<String>(&small()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }
    server.thaw();
    assert_eq!(redis.query::<String>(&small()).await.unwrap(), "small");
    assert_eq!(executed(&server, "info"), 2, "each connection asks once, and two were made");
}

#[tokio::test]
async fn a_server_that_is_away_is_no_error_and_found_when_it_comes() {
    let server = Server::start().await;
    server.kill();
    let stop = CancellationToken::new();
    let redis = Redis::start(Options::new(server.root_url()), stop.clone()).await.unwrap();
    all_fail_at_once(&redis).await;
    assert_eq!(*redis.fence().borrow(), None);
    server.restart().await;
    connected(&redis).await;

    server.kill();
    eventually(SOON, "the loss", async || redis.query::<String>(&small()).await.is_err()).await;
    eventually(SOON, "the refusal", async || !redis.is_connected()).await;
    all_fail_at_once(&redis).await;
    server.restart().await;
    connected(&redis).await;

    // What is there serves on; what is lost then is not replaced.
    stop.cancel();
    assert_eq!(redis.query::<String>(&small()).await.unwrap(), "small");
    server.restart().await;
    eventually(SOON, "the loss", async || redis.query::<String>(&small()).await.is_err()).await;
    assert!(!redis.is_connected());
    let clients = server.cli(&["CLIENT", "LIST"]);
    assert_eq!(clients.lines().count(), 1, "redis-cli alone: {clients}");
}

#[tokio::test]
async fn nobody_waits_for_a_second_attempt() {
    let server = Server::start().await;
    // Half of it is what a call would wait for the first.
    let timeout = SOON * 10;
    let redis = connect_with(Options { timeout, ..Options::new(server.root_url()) }).await;
    server.kill();
    let error = redis.query::<String>(&small()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    all_fail_at_once(&redis).await;
}

#[tokio::test]
async fn connections_end_with_the_last_clone() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let clients =
        |server: &Server| server.cli(&["CLIENT", "LIST", "TYPE", "normal"]).lines().count();
    // And the one that asks.
    assert_eq!(clients(&server), 3);
    drop(redis.clone());
    assert_eq!(clients(&server), 3);
    drop(redis);
    eventually(SOON, "the connections to end", async || clients(&server) == 1).await;
}
