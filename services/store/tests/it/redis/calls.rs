//! Commands, pipelines, scripts.

use std::{slice::from_ref, sync::Arc};

use mingle_store::{
    ErrorKind,
    clock::ManualClock,
    redis::{Batch, Call, Script},
};
use mingle_testkit::Redis as Server;

use super::connect;

static ADD: Script = Script::new(
    "add",
    "if #ARGV ~= 1 then return redis.error_reply('ERR arguments ' .. #ARGV) end
     return redis.call('INCRBY', KEYS[1], ARGV[1])",
);
static NOW: Script = Script::new("now", "return {now_us(), now_ms()}");

#[tokio::test]
async fn commands_pipelines_and_scripts_answer() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let key = redis.key("calls", "n");
    assert_eq!(key, "mingle:{calls}:n");

    redis.query::<()>(redis::cmd("SET").arg(&key).arg(40)).await.unwrap();
    let sum: i64 = redis.run(&ADD, from_ref(&key), &[2.into()]).await.unwrap();
    assert_eq!(sum, 42);
    let mut batch = Batch::new();
    batch.ask("GET").arg(&key);
    batch.tell("SET").arg(redis.key("calls", "m")).arg(1);
    batch.ask("EXISTS").arg("nothing");
    assert_eq!(redis.pipeline::<(i64, bool)>(&batch).await.unwrap(), (42, false));
    assert_eq!(server.cli(&["GET", &key]), "42");
}

#[tokio::test]
async fn scripts_are_told_the_servers_time_or_a_tests() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let seconds = |cli: String| cli.lines().next().unwrap().parse::<i64>().unwrap();

    let before = seconds(server.cli(&["TIME"]));
    let (us, ms): (i64, i64) = redis.run(&NOW, &[], &[]).await.unwrap();
    let after = seconds(server.cli(&["TIME"]));
    assert_eq!(us / 1_000, ms);
    assert!((before..=after).contains(&(ms / 1_000)), "{before} {ms} {after}");

    let clock = Arc::new(ManualClock::at(1_234));
    let redis = redis.with_clock(clock.clone());
    assert_eq!(redis.run::<(i64, i64)>(&NOW, &[], &[]).await.unwrap(), (1_234_000, 1_234));
    clock.advance(10_000_000_000);
    let late = redis.run::<(i64, i64)>(&NOW, &[], &[]).await.unwrap();
    assert_eq!(late, (10_000_001_234_000, 10_000_001_234));
}

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let key = [redis.key("calls", "n")];
    let call = Call { keys: key.to_vec(), args: vec![1.into()] };
    for round in 0..3 {
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
        let sum: i64 = redis.run(&ADD, &key, &[1.into()]).await.unwrap();
        assert_eq!(sum, round * 4 + 1);
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
        let sums = redis.run_many::<i64>(&ADD, &[call.clone(), call.clone(), call.clone()]).await;
        let sums: Vec<i64> = sums.unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(sums, [round * 4 + 2, round * 4 + 3, round * 4 + 4]);
    }
    let refused = server.cli(&["INFO", "errorstats"]);
    assert!(refused.contains("errorstat_NOSCRIPT:count="), "{refused}");
}

#[tokio::test]
async fn many_runs_answer_each_for_itself_and_in_order() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    assert_eq!(server.cli(&["SET", "mingle:{a}:text", "word"]), "OK");
    let mut calls: Vec<Call> = (0..600)
        .map(|n| Call { keys: vec![redis.key("a", n % 7)], args: vec![1.into()] })
        .collect();
    calls[300].keys = vec![redis.key("a", "text")];
    calls[301].args.clear();

    let answers = redis.run_many::<i64>(&ADD, &calls).await.unwrap();
    assert_eq!(answers.len(), calls.len());
    let mut sums = [0; 7];
    for (n, answer) in answers.into_iter().enumerate() {
        if n == 300 || n == 301 {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsupported);
        } else {
            sums[n % 7] += 1;
            assert_eq!(answer.unwrap(), sums[n % 7], "{n}");
        }
    }
    assert!(redis.run_many::<i64>(&ADD, &[]).await.unwrap().is_empty());
    let stats = server.cli(&["INFO", "stats"]);
    let line = stats.lines().find(|line| line.starts_with("total_reads_processed:"));
    let reads: u32 = line.unwrap().split(':').nth(1).unwrap().trim().parse().unwrap();
    assert!(reads < 100, "600 runs in few reads: {reads}");
}

#[tokio::test]
async fn a_large_value_travels_beside_the_commands() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let large = "x".repeat(20_000);
    redis.query::<()>(redis::cmd("SET").arg("large").arg(&large)).await.unwrap();
    let length: usize = redis.query(redis::cmd("STRLEN").arg("large")).await.unwrap();
    assert_eq!(length, large.len());
    let clients = server.cli(&["CLIENT", "LIST"]);
    let last = |command: &str| {
        let word = format!(" cmd={command} ");
        let line = clients.lines().find(|line| line.contains(&word));
        line.unwrap_or_else(|| panic!("{command}: {clients}")).split(' ').next().unwrap()
    };
    assert_ne!(last("set"), last("strlen"));
}
