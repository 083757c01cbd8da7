//! A primary that sentinels name, and name anew.

use std::{slice::from_ref, time::Duration};

use mingle_store::{
    ErrorKind, Why,
    redis::{Generation, Options, Redis, Script, Unfit},
};
use mingle_testkit::{Redis as Server, Sentinels, eventually};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{PATIENT, SOON};

static COUNT: Script = Script::new("count", "return redis.call('HINCRBY', KEYS[1], 'n', 1)");
/// An election and what follows it, on however slow a machine.
const ELECTED: Duration = Duration::from_secs(90);

async fn connect(url: String) -> Redis {
    connect_within(url, PATIENT).await
}

/// The same; calls may take `timeout`.
async fn connect_within(url: String, timeout: Duration) -> Redis {
    let options = Options { timeout, ..Options::new(url) };
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    eventually(SOON, "the primary", async || redis.is_connected()).await;
    redis
}

fn generation(redis: &Redis) -> Generation {
    redis.fence().borrow().clone().unwrap()
}

fn key(redis: &Redis) -> String {
    redis.key("sentinel", "n")
}

async fn count(redis: &Redis) -> mingle_store::Result<i64> {
    redis.run(&COUNT, from_ref(&key(redis)), &[]).await
}

/// Waits until another server than `old` is elected and counts, and no call fails in
/// another way than as one that may be made again; the server, and what it has counted.
#[expect(clippy::print_stdout, reason = "the time to heal")]
async fn healed<'a>(all: &'a Sentinels, redis: &Redis, old: u16) -> (&'a Server, i64) {
    let (began, before) = (Instant::now(), generation(redis));
    let mut failed = 0;
    eventually(ELECTED, "another server is used", async || {
        if let Err(error) = count(redis).await {
            assert!(error.is_transient(), "{error:?}");
            failed += 1;
            return false;
        }
        generation(redis) != before
    })
    .await;
    println!("healed after {} ms, {failed} calls failed", began.elapsed().as_millis());
    let new = eventually(SOON, "the sentinels agree", async || all.primary()).await;
    assert_ne!(new.port(), old);
    let counted = count(redis).await.unwrap();
    assert_eq!(new.cli(&["HGET", &key(redis), "n"]), counted.to_string());
    (new, counted)
}

/// A sentinel that makes it follow cuts off whoever asks it.
fn follows(server: &Server) -> bool {
    server.try_cli(&["ROLE"]).is_some_and(|role| role.starts_with("slave"))
}

#[tokio::test]
async fn a_killed_primary_is_followed_by_the_elected_one() {
    let all = Sentinels::start().await;
    let redis = connect(all.url()).await;
    assert_eq!(count(&redis).await.unwrap(), 1);
    let old = &all.servers()[0];
    old.kill();
    let (new, counted) = healed(&all, &redis, old.port()).await;

    // It comes back as it was, a primary, until the sentinels have it follow.
    let held = generation(&redis);
    old.restart().await;
    eventually(ELECTED, "it follows", async || {
        assert!(count(&redis).await.is_ok());
        follows(old)
    })
    .await;
    let primary = all.primary().map(Server::port);
    assert_eq!((generation(&redis), primary), (held, Some(new.port())));
    let now: i64 = new.cli(&["HGET", &key(&redis), "n"]).parse().unwrap();
    assert!(now > counted, "{now}");
}

#[tokio::test]
async fn a_frozen_primary_is_left_and_what_it_runs_late_is_lost_with_it() {
    let all = Sentinels::start().await;
    let redis = connect_within(all.url(), Duration::from_millis(250)).await;
    let old = &all.servers()[0];
    old.freeze();
    assert_eq!(count(&redis).await.unwrap_err().kind(), ErrorKind::Timeout);
    let (new, counted) = healed(&all, &redis, old.port()).await;
    old.thaw();
    eventually(ELECTED, "it follows", async || follows(old)).await;
    assert_eq!(count(&redis).await.unwrap(), counted + 1);
    let n = ["HGET", &key(&redis), "n"];
    eventually(SOON, "both hold the same", async || old.cli(&n) == new.cli(&n)).await;
}

#[tokio::test]
async fn a_primary_that_was_cut_off_is_left_though_it_takes_writes() {
    let all = Sentinels::start().await;
    let redis = connect(all.url()).await;
    let old = &all.servers()[0];
    all.cut_off(old);
    healed(&all, &redis, old.port()).await;
    assert!(old.cli(&["ROLE"]).starts_with("master"), "nobody told it");
    assert_eq!(old.cli(&["SET", "taken", "still"]), "OK");
    let before: i64 = old.cli(&["HGET", &key(&redis), "n"]).parse().unwrap_or(0);
    eventually(SOON, "its connections are given up", async || {
        !old.cli(&["CLIENT", "LIST"]).contains("user=mingle")
    })
    .await;
    assert!(count(&redis).await.is_ok());
    assert_eq!(old.cli(&["HGET", &key(&redis), "n"]).parse().unwrap_or(0), before);

    all.join_again(old);
    eventually(ELECTED, "it follows, and what it took alone is lost", async || {
        follows(old) && old.cli(&["GET", "taken"]).is_empty()
    })
    .await;
}

#[tokio::test]
async fn sentinels_that_are_away_delay_nobody() {
    let all = Sentinels::start().await;
    for sentinel in all.sentinels().take(2) {
        sentinel.freeze();
    }
    // Who asks one after the other needs a second for each, and more than there is.
    let url = all.url();
    let (before, hosts) = url.split_once('@').unwrap();
    let frozen = format!("{},", hosts.split(',').next().unwrap());
    let redis = connect(format!("{before}@{}{hosts}", frozen.repeat(60))).await;
    assert_eq!(count(&redis).await.unwrap(), 1);
    for sentinel in all.sentinels() {
        sentinel.kill();
    }
    let began = Instant::now();
    eventually(SOON, "two questions unanswered", async || {
        assert!(count(&redis).await.is_ok());
        began.elapsed() > Duration::from_secs(2)
    })
    .await;
    // Nor does a lost connection need them: the last answer holds.
    let killed = all.servers()[0].cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_ne!(killed, "0");
    eventually(SOON, "the next connection", async || count(&redis).await.is_ok()).await;

    let later = Redis::start(Options::new(all.url()), CancellationToken::new()).await.unwrap();
    let why = later.inspect().await.unwrap_err().why();
    assert_eq!((why, later.is_connected()), (Why::NobodyThere, false));
}

#[tokio::test]
async fn a_sentinel_is_no_server() {
    let all = Sentinels::start().await;
    let url = all.url();
    let first = url.split(['@', ',']).nth(1).unwrap();
    let options = Options::new(format!("redis://{first}"));
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    assert_eq!(redis.inspect().await.unwrap().unfit, Some(Unfit::Sentinel));
    assert!(!redis.is_connected());
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_told() {
    let all = Sentinels::start().await;
    let url = all.url().replace("/main", "/another");
    let redis = Redis::start(Options::new(url), CancellationToken::new()).await.unwrap();
    let told = redis.inspect().await.unwrap_err();
    assert_eq!(told.why(), Why::NoPrimary, "{}", told.words());
}
