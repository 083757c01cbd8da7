//! Who does not say who they are, or says it wrongly.

use futures::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mingle_client::ws::{
    Encoding,
    close::Close,
    proto::{ClientFrame, Ping, Send, client_frame, server_frame::Kind},
};
use serde_json::{Value, json};

use super::{Why, ask, assert_alive, assert_refused, closed, greeted, hello, reply, send};
use crate::{
    http,
    world::{FUTURE, SECRET, World, mint, token},
};

/// Tokens that are not good, and what is said about each.
fn bad_tokens() -> Vec<(&'static str, String, &'static str)> {
    let claims = |key: &str, value: Value| {
        let mut claims = json!({"sub": "ann", "exp": FUTURE, "aud": "mingle"});
        claims[key] = value;
        mint(&claims)
    };
    let signed = |algorithm, secret: &str| {
        let claims = json!({"sub": "ann", "exp": FUTURE, "aud": "mingle"});
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(algorithm), &claims, &key).unwrap()
    };
    // {"alg":"none"} {"sub":"ann","exp":4000000000,"aud":"mingle"}
    let none = "eyJhbGciOiJub25lIn0.\
                eyJzdWIiOiJhbm4iLCJleHAiOjQwMDAwMDAwMDAsImF1ZCI6Im1pbmdsZSJ9.";
    let good = token("ann");
    let (content, _) = good.rsplit_once('.').unwrap();
    vec![
        ("expired", claims("exp", json!(1_000_000_000)), "TOKEN_EXPIRED"),
        ("of alg none", none.to_owned(), "TOKEN_INVALID"),
        ("of another algorithm", signed(Algorithm::HS384, SECRET), "TOKEN_INVALID"),
        ("of another secret", signed(Algorithm::HS256, "guess"), "TOKEN_INVALID"),
        ("for another audience", claims("aud", json!("other")), "TOKEN_WRONG_AUDIENCE"),
        ("for no audience", claims("aud", json!([])), "TOKEN_WRONG_AUDIENCE"),
        ("without expiry", claims("exp", json!(null)), "TOKEN_INVALID"),
        ("of nobody", claims("sub", json!("")), "TOKEN_INVALID"),
        ("of a user id too long", claims("sub", json!("x".repeat(129))), "TOKEN_INVALID"),
        ("with wrong claims", claims("attrs", json!([1])), "TOKEN_INVALID"),
        ("garbage", "garbage".to_owned(), "TOKEN_INVALID"),
        ("garbage in three parts", "a.b.c".to_owned(), "TOKEN_INVALID"),
        ("without signature", format!("{content}."), "TOKEN_INVALID"),
        ("far too long", "x".repeat(10_000), "TOKEN_INVALID"),
    ]
}

#[tokio::test]
async fn a_bad_token_is_refused_and_a_good_one_may_follow() {
    let world = World::start().await;
    for (what, bad, reason) in bad_tokens() {
        for encoding in Encoding::ALL {
            let mut socket = world.socket(encoding).await;
            let answer = ask(&mut socket, hello(&bad)).await;
            assert_refused(&answer, ("UNAUTHENTICATED", reason, "token"), what);
            let answer = ask(&mut socket, hello(&token("ann"))).await;
            assert!(matches!(answer, Kind::Welcome(_)), "{what}: {answer:?}");
            assert_alive(&mut socket, what).await;
        }
        let answer = http::get(world.http(), "/api/rooms", &bad).await;
        assert_eq!(answer.problem(), (401, "UNAUTHENTICATED", reason, "authorization"), "{what}");
    }
    let answer = http::get(world.http(), "/api/rooms", "").await;
    assert_eq!(answer.problem(), (401, "UNAUTHENTICATED", "TOKEN_INVALID", "authorization"));
    let mut socket = world.socket(Encoding::Json).await;
    let answer = ask(&mut socket, hello("")).await;
    assert_refused(&answer, ("UNAUTHENTICATED", "REQUIRED", "token"), "no token");
}

#[tokio::test]
async fn too_many_bad_tokens_end_the_connection() {
    let world = World::start().await;
    let expired = mint(&json!({"sub": "ann", "exp": 1, "aud": "mingle"}));
    for (bad, close) in [("garbage", Close::Unauthenticated), (&expired, Close::TokenExpired)] {
        let mut socket = world.socket(Encoding::Json).await;
        for _ in 0..3 {
            let answer = ask(&mut socket, hello(bad)).await;
            assert!(matches!(answer, Kind::Error(_)), "{answer:?}");
        }
        assert_eq!(closed(&mut socket).await, close.code());
    }
}

#[tokio::test]
async fn hello_comes_first_and_once() {
    let world = World::start().await;
    let room = world.room(&["ann", "bob"]).await;
    for encoding in Encoding::ALL {
        let mut socket = world.socket(encoding).await;
        let required: Why<'_> = ("UNAUTHENTICATED", "HELLO_REQUIRED", "");
        let send = Send { room_id: room.clone(), body: "hi".to_owned(), ..Default::default() };
        for early in [client_frame::Kind::Ping(Ping {}), client_frame::Kind::Send(send)] {
            assert_refused(&ask(&mut socket, early).await, required, "before hello");
        }
        let answer = ask(&mut socket, hello(&token("ann"))).await;
        assert!(matches!(answer, Kind::Welcome(_)), "{answer:?}");
        for again in [token("ann"), token("bob"), "garbage".to_owned()] {
            let answer = ask(&mut socket, hello(&again)).await;
            let why = ("FAILED_PRECONDITION", "ALREADY_GREETED", "");
            assert_refused(&answer, why, "a second hello");
            assert_alive(&mut socket, "a second hello").await;
        }
    }
    assert!(world.history("ann", &room).await.is_empty());
}

#[tokio::test]
async fn who_says_no_good_hello_in_time_is_closed() {
    let limit = ("MINGLE_GATEWAY__LIMITS__HELLO_TIMEOUT_MS", "700");
    let world = World::with(&[limit]).await;
    let mut silent = world.socket(Encoding::Json).await;
    let mut chatty = world.socket(Encoding::Proto).await;
    let mut wrong = world.socket(Encoding::Json).await;
    let mut greeted = greeted(&world, "ann", Encoding::Json).await;
    let ping = ClientFrame {
        id: 1,
        kind: Some(client_frame::Kind::Ping(Ping {})),
        ..ClientFrame::default()
    };
    chatty.send_frame(&ping).await.unwrap();
    let (_, answer) = reply(&mut chatty).await;
    assert_refused(&answer, ("UNAUTHENTICATED", "HELLO_REQUIRED", ""), "a ping");
    send(&mut wrong, "{").await.unwrap();
    let closes = join_all([&mut silent, &mut chatty, &mut wrong].map(closed)).await;
    assert_eq!(closes, [Close::HelloTimeout.code(); 3]);
    assert_alive(&mut greeted, "after the others' time").await;
}
