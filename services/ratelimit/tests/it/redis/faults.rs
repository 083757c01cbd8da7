//! What is in the heads of the scripts: timeout, late, twice, restarted empty.

use std::{sync::Arc, time::Duration};

use mingle_ratelimit::{
    domain::Verdict,
    store::{Store as _, redis::RedisStore},
};
use mingle_store::ErrorKind;
use mingle_testkit::{Redis as Server, eventually};

use crate::world::{SOON, ask, config, connect, connect_within, connected, refund};

const REMEMBER_US: u64 = 900_000_000;
/// Short, since these tests wait for it to pass.
const TIMEOUT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn what_was_given_up_is_never_charged_nor_given_back_late() {
    let server = Server::start().await;
    let redis = connect_within(&server, TIMEOUT).await;
    let limits = config().limits();
    let store = RedisStore::new(redis.clone(), REMEMBER_US);
    let first = ask(&limits, "ann", "first", 1, &["three"]);
    let second = ask(&limits, "ann", "second", 1, &["three"]);
    store.check(std::slice::from_ref(&first)).await.remove(0).unwrap();

    // So that the server knows the script.
    store.reset("nobody", &first.limits).await.unwrap();
    server.freeze();
    let (check, refund, reset) = tokio::join!(
        store.check(std::slice::from_ref(&second)),
        refund(&store, "ann", "first", false),
        store.reset("ann", &first.limits)
    );
    assert_eq!(reset.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(check[0].as_ref().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(refund.unwrap_err().kind(), ErrorKind::Timeout);
    server.thaw();
    eventually(SOON, "the abandoned script", async || {
        server.cli(&["INFO", "errorstats"]).contains("errorstat_LATE:count=2")
    })
    .await;
    connected(&redis).await;

    let left = store.peek(&second).await.unwrap().standings[0].remaining;
    assert_eq!(left, 2, "neither charged, given back nor reset");
    let again = store.check(std::slice::from_ref(&second)).await.remove(0).unwrap();
    assert_eq!((again.verdict, again.standings[0].remaining), (Verdict::Allowed, 1));
}

/// The answer of a charge is lost: whoever asks again, through whichever
/// process, finds it.
#[tokio::test]
async fn a_charge_whose_answer_was_lost_is_found_by_another_process() {
    let server = Server::start().await;
    let limits = config().limits();
    let open = async || RedisStore::new(connect(&server).await, REMEMBER_US);
    let (one, other) = (open().await, open().await);
    let lost = ask(&limits, "ann", "a", 1, &["three", "paced"]);
    one.check(std::slice::from_ref(&lost)).await.remove(0).unwrap();
    assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    for _ in 0..3 {
        let found = other.check(std::slice::from_ref(&lost)).await.remove(0).unwrap();
        assert_eq!(found.verdict, Verdict::Repeated);
        assert_eq!(found.standings[0].remaining, 2);
    }
    let (first, second) =
        tokio::join!(refund(&one, "ann", "a", false), refund(&other, "ann", "a", false));
    assert!(first.unwrap() ^ second.unwrap(), "given back once");
    assert_eq!(one.peek(&lost).await.unwrap().standings[0].remaining, 3);
}

#[tokio::test]
async fn three_processes_admit_the_quota_together() {
    let server = Server::start().await;
    let limits = config().limits();
    let mut calls = Vec::new();
    for process in 0..3 {
        let store = Arc::new(RedisStore::new(connect(&server).await, REMEMBER_US));
        for n in 0..20 {
            let ask = ask(&limits, "ann", &format!("{process} {n}"), 1, &["ten"]);
            let store = store.clone();
            calls.push(tokio::spawn(async move { store.check(&[ask]).await.remove(0).unwrap() }));
        }
    }
    let mut allowed = 0;
    for call in calls {
        allowed += u32::from(call.await.unwrap().verdict.is_allowed());
    }
    assert_eq!(allowed, 10);
}

#[tokio::test]
async fn counts_outlive_a_restart_and_begin_anew_on_an_empty_server() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let limits = config().limits();
    let store = RedisStore::new(redis.clone(), REMEMBER_US);
    let take = async |id: &str| {
        let ask = ask(&limits, "ann", id, 2, &["ten"]);
        store.check(&[ask]).await.remove(0).unwrap()
    };
    assert_eq!(take("a").await.standings[0].remaining, 8);
    server.restart().await;
    connected(&redis).await;
    assert_eq!(take("a").await.verdict, Verdict::Repeated);
    assert_eq!(take("b").await.standings[0].remaining, 6);
    server.restart_empty().await;
    connected(&redis).await;
    assert!(!refund(&store, "ann", "a", false).await.unwrap(), "nothing of it is there");
    assert_eq!(take("b").await.standings[0].remaining, 8);
}
