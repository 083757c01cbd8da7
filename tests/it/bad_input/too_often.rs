//! How often one may ask, by class of request.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use mingle_client::ws::{Encoding, proto::server_frame::Kind};
use serde_json::json;

use super::{ask, hello};
use crate::{
    http::{Answer, get, post, send},
    world::{World, mint, token},
};

const AUTH: (&str, &str) = ("MINGLE_RATELIMIT__LIMITS__AUTH__QUOTA", "10");
const DENIED: (u16, &str, &str, &str) = (429, "RESOURCE_EXHAUSTED", "RATE_LIMITED", "");
const REFUSED: (u16, &str, &str, &str) = (401, "UNAUTHENTICATED", "TOKEN_INVALID", "authorization");

#[track_caller]
fn assert_waits(answer: &Answer, name: &str, window: u32) {
    assert_eq!(answer.problem(), DENIED, "{answer:?}");
    let seconds: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=window).contains(&seconds), "{answer:?}");
    let millis = answer.body["retryAfterMs"].as_u64().unwrap();
    assert_eq!(millis.div_ceil(1000), u64::from(seconds), "{answer:?}");
    assert!(answer.header("ratelimit").starts_with(&format!("\"{name}\";r=0;t=")), "{answer:?}");
}

/// Asks as somebody behind proxies, who say so.
async fn ask_from(world: &World, forwarded: &str, token: &str) -> Answer {
    let request = Request::get("/api/rooms")
        .header("x-forwarded-for", forwarded)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Full::<Bytes>::default())
        .unwrap();
    send(world.http(), request).await
}

#[tokio::test]
async fn a_user_is_told_what_is_left_and_when_to_come_again() {
    let world = World::with(&[("MINGLE_RATELIMIT__LIMITS__API__QUOTA", "3")]).await;
    let path = "/api/rooms";
    for left in [2, 1, 0] {
        let answer = get(world.http(), path, &token("ann")).await;
        assert_eq!(answer.header("ratelimit-policy"), "\"api\";q=3;w=60");
        let told = answer.header("ratelimit");
        assert!(told.starts_with(&format!("\"api\";r={left};t=")), "{told}");
        answer.ok();
    }
    let denied = get(world.http(), path, &token("ann")).await;
    assert_eq!(denied.header("ratelimit-policy"), "\"api\";q=3;w=60");
    assert_waits(&denied, "api", 60);
    let denied = get(world.http(), "/api/nothing", &token("ann")).await;
    assert_waits(&denied, "api", 60);

    get(world.http(), path, &token("bob")).await.ok();
    let health = get(world.http(), "/api/health", &token("ann")).await;
    assert_eq!(health.header("ratelimit-policy"), "", "a probe is free");
    health.ok();
    let page = get(world.http(), "/", "").await;
    assert_eq!((page.status.as_u16(), page.header("ratelimit-policy")), (200, ""));
    world.client("ann", Encoding::Json).await;

    for _ in 0..3 {
        assert_eq!(get(world.http(), path, "").await.problem(), REFUSED);
    }
    assert_waits(&get(world.http(), path, "").await, "api", 60);
    let operator = get(world.http(), "/api/admin/nothing", &token("ann")).await;
    assert!(operator.header("ratelimit").starts_with("\"admin\";r=19;t="), "{operator:?}");
}

#[tokio::test]
async fn an_address_guesses_ten_tokens_and_harms_nobody_behind_it() {
    let world = World::with(&[AUTH]).await;
    for _ in 0..5 {
        let refused = get(world.http(), "/api/rooms", "guess").await;
        assert_eq!(refused.problem(), REFUSED);
        assert_eq!(refused.header("ratelimit-policy"), "\"auth\";q=10;w=900");
    }
    for encoding in [Encoding::Json, Encoding::Proto] {
        for _ in 0..2 {
            let mut socket = world.socket(encoding).await;
            let Kind::Error(error) = ask(&mut socket, hello("guess")).await else { panic!() };
            assert_eq!(error.reason, "TOKEN_INVALID");
        }
    }
    let made = post(world.http(), "/api/dev/token", "", &json!({"userId": "ann"})).await;
    assert!(made.header("ratelimit").starts_with("\"auth\";r=0;t="), "{made:?}");
    made.ok();

    assert_waits(&get(world.http(), "/api/rooms", "guess").await, "auth", 900);
    let made = post(world.http(), "/api/dev/token", "", &json!({"userId": "ann"})).await;
    assert_waits(&made, "auth", 900);
    let mut socket = world.socket(Encoding::Json).await;
    let Kind::Error(error) = ask(&mut socket, hello("guess")).await else { panic!() };
    assert_eq!((error.code.as_str(), error.reason.as_str()), (DENIED.1, DENIED.2));
    assert!((1..=900_000).contains(&error.retry_after_ms), "{error:?}");

    let expired = mint(&json!({"sub": "ann", "exp": 1_000_000_000, "aud": "mingle"}));
    let told = get(world.http(), "/api/rooms", &expired).await;
    assert_eq!(told.problem().2, "TOKEN_EXPIRED", "its owner must know");
    let Kind::Error(error) = ask(&mut socket, hello(&expired)).await else { panic!() };
    assert_eq!(error.reason, "TOKEN_EXPIRED");
    get(world.http(), "/api/rooms", &token("ann")).await.ok();
    world.client("ann", Encoding::Json).await;
}

#[tokio::test]
async fn an_address_is_the_one_that_our_proxies_saw() {
    let trusted = ("MINGLE_GATEWAY__TRUSTED_PROXIES", "[\"127.0.0.0/8\", \"10.0.0.0/8\"]");
    let world = World::with(&[AUTH, trusted]).await;
    for n in 0..10 {
        let forged = format!("192.0.2.{n}, 203.0.113.9, 10.0.0.1");
        assert_eq!(ask_from(&world, &forged, "guess").await.problem(), REFUSED);
    }
    assert_waits(&ask_from(&world, "192.0.2.77, 203.0.113.9", "guess").await, "auth", 900);
    assert_eq!(ask_from(&world, "203.0.113.10", "guess").await.problem(), REFUSED);
    for n in 0..10 {
        let own = format!("2001:db8:0:1::{n}");
        assert_eq!(ask_from(&world, &own, "guess").await.problem(), REFUSED);
    }
    assert_waits(&ask_from(&world, "2001:db8:0:1::77", "guess").await, "auth", 900);
    assert_eq!(ask_from(&world, "2001:db8:0:2::1", "guess").await.problem(), REFUSED);
}

#[tokio::test]
async fn who_is_no_proxy_of_ours_is_not_believed() {
    let world = World::with(&[AUTH]).await;
    for n in 0..10 {
        let forged = format!("192.0.2.{n}");
        assert_eq!(ask_from(&world, &forged, "guess").await.problem(), REFUSED);
    }
    assert_waits(&ask_from(&world, "192.0.2.77", "guess").await, "auth", 900);
}
