//! `mingle token`: what it prints is taken by a running Mingle, and by no other.

use std::{fs, path::Path};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use mingle_client::ws::{Client, Encoding, Limits, Socket};
use mingle_testkit::Mingle;
use serde_json::{Value, json};

use crate::{
    command::{Ran, run},
    http,
    world::{SECRET, SOON},
};

/// The token, which is all that the command may print.
#[track_caller]
fn token(ran: Ran) -> String {
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{ran:?}");
    let token = ran.out.strip_suffix('\n').unwrap().to_owned();
    assert!(!token.contains(char::is_whitespace) && token.split('.').count() == 3, "{token}");
    token
}

/// What a token says, read by another way than the gateway's.
fn claims(token: &str) -> Value {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["mingle"]);
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    decode::<Value>(token, &key, &validation).unwrap().claims
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_the_kept_secret_is_a_user_over_http_and_web_socket() {
    let mingle = Mingle::start().await;
    let dir = [("MINGLE_DATA__DIR", mingle.data_dir().to_str().unwrap())];
    let args = ["token", "ann", "--role", "admin", "--attr", "gender=female", "--ttl", "30m"];
    let token = token(run(Path::new("/"), &args, &dir).await);

    let at = mingle.http_addr();
    let kind = json!({"kind": "DIRECT", "memberIds": ["ann", "bob"]});
    http::post(at, "/api/rooms", &token, &kind).await.ok();
    let join = |gender: &str| json!({"pool": "random-chat", "attributes": {"gender": gender}});
    let refused = http::post(at, "/api/match/tickets", &token, &join("male")).await;
    assert_eq!(refused.problem().1, "INVALID_ARGUMENT", "the token's word goes over the client's");
    http::post(at, "/api/match/tickets", &token, &join("female")).await.ok();

    let socket = Socket::connect(&format!("ws://{at}/ws"), Encoding::Json).await.unwrap();
    let mut client = Client::over(socket, Limits { reply: SOON, events: 16 });
    client.hello(&token, None).await.unwrap();
    assert_eq!(client.welcome().unwrap().user_id, "ann");

    // Of another folder, it is another's.
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("development-jwt-secret"), SECRET).unwrap();
    let dir = [("MINGLE_DATA__DIR", other.path().to_str().unwrap())];
    let foreign = self::token(run(other.path(), &["token", "ann"], &dir).await);
    let answer = http::get(at, "/api/rooms", &foreign).await;
    assert_eq!(answer.problem().2, "TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_for_whom_and_from_whom_is_configured() {
    let ours = [
        ("MINGLE_JWT_SECRET", SECRET),
        ("MINGLE_GATEWAY__JWT_AUDIENCE", "ours"),
        ("MINGLE_GATEWAY__JWT_ISSUER", "us"),
    ];
    let builder = ours.iter().fold(Mingle::builder(), |it, (key, value)| it.env(*key, *value));
    let mingle = builder.start().await;
    let folder = tempfile::tempdir().unwrap();
    let at = mingle.http_addr();
    let good = token(run(folder.path(), &["token", "ann"], &ours).await);
    http::get(at, "/api/rooms", &good).await.ok();
    let theirs = [ours[0], ("MINGLE_GATEWAY__JWT_AUDIENCE", "theirs"), ours[2]];
    let foreign = token(run(folder.path(), &["token", "ann"], &theirs).await);
    let answer = http::get(at, "/api/rooms", &foreign).await;
    assert_eq!(answer.problem().2, "TOKEN_WRONG_AUDIENCE");
}

#[tokio::test]
async fn a_token_says_what_was_asked_for_and_for_how_long() {
    let folder = tempfile::tempdir().unwrap();
    let secret = [("MINGLE_JWT_SECRET", SECRET), ("MINGLE_ENV", "production")];
    let mut spans = Vec::new();
    for ttl in ["1h", "24h"] {
        let args = ["token", "ann", "--role", "a", "--role", "b", "--attr", "k==v", "--ttl", ttl];
        let claims = claims(&token(run(folder.path(), &args, &secret).await));
        assert_eq!((&claims["sub"], &claims["roles"]), (&json!("ann"), &json!(["a", "b"])));
        assert_eq!(claims["attrs"], json!({"k": "=v"}));
        spans.push(claims["exp"].as_i64().unwrap());
    }
    let apart = spans[1] - spans[0] - 23 * 3600;
    assert!((0..60).contains(&apart), "{spans:?}");
    let usual = claims(&token(run(folder.path(), &["token", "ann"], &secret).await));
    assert!((0..60).contains(&(usual["exp"].as_i64().unwrap() - spans[0])), "an hour");
}

#[tokio::test]
async fn without_a_secret_or_for_nobody_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let secret = ("MINGLE_JWT_SECRET", SECRET);
    let (production, redis) = (("MINGLE_ENV", "production"), ("REDIS_URL", "redis://h:1"));
    let long = "x".repeat(129);
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (&["ann"], &[], "gateway.jwt_secret: is missing: set MINGLE_JWT_SECRET as for"),
        (&["ann"], &[production], "gateway.jwt_secret: is missing: set MINGLE_JWT_SECRET"),
        (&["ann"], &[redis], "gateway.jwt_secret: is missing: gateways in several"),
        (&["ann"], &[("MINGLE_JWT_SECRET", "short")], "gateway.jwt_secret: has fewer"),
        (&[&long], &[secret], "token: sub must have 1 to 128 bytes"),
        (&["ann", "--attr", "k"], &[secret], "--attr"),
        (&["ann", "--attr", "k=a", "--attr", "k=b"], &[secret], "--attr: k is said twice"),
        (&["ann", "--ttl", "24h1s"], &[secret], "must be 1s to 24h"),
        (&["ann", "--ttl", "1ms"], &[secret], "must be 1s to 24h"),
        (&["ann", "--ttl", "soon"], &[secret], "must be like"),
        (&[], &[secret], "<USER>"),
    ];
    for (args, env, told) in cases {
        let args = [&["token"], *args].concat();
        let ran = run(folder.path(), &args, env).await;
        assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{args:?} {env:?}: {ran:?}");
        assert!(ran.err.contains(told), "{args:?} {env:?}: {}", ran.err);
        assert!(!ran.err.contains(SECRET), "{}", ran.err);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}
