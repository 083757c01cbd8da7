//! An Envoy before an application, with the files that adopters get.

use std::net::SocketAddr;

use http::StatusCode;
use mingle_testkit::{Envoy, Mingle, Redis, eventually};

use crate::{
    http::{Answer, get},
    world::SOON,
};

/// As `deploy/envoy/limits.yaml` says.
const OF_AN_ADDRESS: usize = 200;
const LOGINS: usize = 10;
const ERRORS: &str = "cluster.application.ratelimit.error";

/// An Envoy that asks a limiter, before a page that stands for an application.
async fn start(redis: &Redis) -> (Envoy, Mingle) {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/envoy/limits.yaml");
    let builder = Mingle::builder().arg("serve").arg("ratelimit");
    let builder = builder.env("MINGLE_RATELIMIT__DESCRIPTORS", rules);
    let limiter = builder.env("REDIS_URL", redis.url()).start().await;
    let envoy = Envoy::limiting(limiter.probes_addr(), limiter.grpc_addr()).await;
    eventually(SOON, "envoy knows the limiter", async || {
        get(envoy.address("web"), "/livez", "").await.headers.contains_key("x-ratelimit-limit")
    })
    .await;
    (envoy, limiter)
}

/// So many requests, of which some are let through.
async fn ask(web: SocketAddr, path: &str, requests: usize) -> Vec<Answer> {
    let mut answers = Vec::new();
    for _ in 0..requests {
        answers.push(get(web, path, "").await);
    }
    answers
}

fn passed(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == StatusCode::OK).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_lets_the_quota_through_and_says_when_there_is_more() {
    let redis = Redis::start().await;
    let (envoy, _limiter) = start(&redis).await;
    let web = envoy.address("web");
    let errors = envoy.counter(ERRORS);
    let before = OF_AN_ADDRESS - left(&get(web, "/livez", "").await);

    let answers = ask(web, "/livez", OF_AN_ADDRESS + 20).await;
    let (let_through, refused) = answers.split_at(OF_AN_ADDRESS - before);
    assert_eq!(passed(let_through), let_through.len());
    for (at, answer) in let_through.iter().enumerate() {
        assert_eq!(left(answer), let_through.len() - at - 1);
        assert_eq!(answer.header("ratelimit-policy"), "\"address\";q=200;w=3600");
        let of_draft = "200, 200;w=3600;name=\"address\"";
        assert_eq!(answer.header("x-ratelimit-limit"), of_draft);
    }
    for answer in refused {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        let after: u64 = answer.header("retry-after").parse().unwrap();
        assert!((3_500..=3_600).contains(&after), "{after}");
        assert_eq!(answer.header("ratelimit"), format!("\"address\";r=0;t={after}"));
        assert_eq!(answer.header("x-ratelimit-remaining"), "0");
    }
    let over = envoy.counter("cluster.application.ratelimit.over_limit");
    assert_eq!(over, refused.len() as u64);
    assert_eq!(envoy.counter(ERRORS), errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_logins_pass_in_fifteen_minutes() {
    let redis = Redis::start().await;
    let (envoy, _limiter) = start(&redis).await;
    let web = envoy.address("web");
    // The application knows no such page.
    let answers = ask(web, "/login", LOGINS + 5).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses[..LOGINS].iter().all(|it| *it == StatusCode::NOT_FOUND), "{statuses:?}");
    assert!(statuses[LOGINS..].iter().all(|it| *it == StatusCode::TOO_MANY_REQUESTS));
    let after: u64 = answers[LOGINS].header("retry-after").parse().unwrap();
    assert!((850..=900).contains(&after), "{after}");
    assert_eq!(answers[LOGINS].header("ratelimit-policy"), "\"login\";q=10;w=900");
}

fn left(answer: &Answer) -> usize {
    answer.header("x-ratelimit-remaining").parse().unwrap()
}
