//! What every gateway tells of the services behind it, and what it logs.

use std::net::SocketAddr;

use ::http::StatusCode;
use mingle_client::ws::{Client, Encoding};
use mingle_testkit::{Deployment, eventually};
use serde_json::{Value, json};

use super::{plan, urls};
use crate::{
    http,
    world::{SOON, greet, token},
};

const OK: [(&str, &str); 5] = [
    ("cache", "ok"),
    ("chat", "ok"),
    ("matchmaking", "ok"),
    ("presence", "ok"),
    ("ratelimit", "ok"),
];

/// What one gateway says.
async fn health(gateway: SocketAddr) -> (StatusCode, Value) {
    let answer = http::get(gateway, "/api/health", "").await;
    (answer.status, answer.body)
}

/// As [`OK`], with the causes behind a colon.
fn services(health: &Value) -> Vec<(String, String)> {
    let one = |(name, it): (&String, &Value)| {
        let causes: Vec<_> =
            it["causes"].as_array().unwrap().iter().map(|cause| cause.as_str().unwrap()).collect();
        let colon = if causes.is_empty() { "" } else { ":" };
        (name.clone(), format!("{}{colon}{}", it["status"].as_str().unwrap(), causes.join(",")))
    };
    health["services"].as_object().unwrap().iter().map(one).collect()
}

/// Waits until every gateway says this of its services, which are well but for
/// these, and of the whole.
async fn until(deployment: &Deployment, status: &str, not_well: &[(&str, &str)]) {
    let expected = OK.map(|(name, ok)| {
        let other = not_well.iter().find(|(other, _)| *other == name);
        (name.to_owned(), other.map_or(ok, |(_, how)| how).to_owned())
    });
    for gateway in deployment.gateways() {
        eventually(SOON, &format!("{status}: {not_well:?}"), async || {
            let (code, told) = health(gateway).await;
            let is_so = told["status"] == status && services(&told) == expected;
            assert_eq!(code == StatusCode::SERVICE_UNAVAILABLE, told["status"] == "unavailable");
            let ready = http::get(gateway, "/readyz", "").await;
            assert!(ready.status.is_success(), "who serves what it can stays ready");
            is_so
        })
        .await;
    }
}

/// Lines of one gateway's log that tell of `role`.
fn lines(deployment: &mut Deployment, nth: usize, role: &str, of: &str) -> usize {
    let log = deployment.process("gateway", nth).log();
    let state = format!("state=\"{role}\"");
    log.lines().filter(|line| line.contains(of) && line.contains(&state)).count()
}

/// Somebody who talks in a room of their own over the first gateway.
async fn talker(deployment: &Deployment) -> (Client, String) {
    let body = json!({"kind": "CHANNEL", "name": "all"});
    let room = http::post(deployment.gateways()[0], "/api/rooms", &token("ann"), &body).await.ok();
    let room = room["roomId"].as_str().unwrap().to_owned();
    let client = greet(&urls(deployment)[0], "ann", Encoding::Json, None).await.unwrap();
    (client, room)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_hangs_is_the_one_that_every_gateway_names_and_logs_once() {
    let mut deployment = plan()
        .env("MINGLE_PROCESS__LOG", "info")
        .env("MINGLE_PEERS__RATELIMIT_DEADLINE_MS", "1000")
        .start()
        .await;
    let (mut ann, room) = talker(&deployment).await;
    until(&deployment, "ok", &[]).await;
    deployment.process("ratelimit", 0).freeze();
    let (mut said, mut looks) = (0, 0);
    eventually(SOON, "it is unavailable to both, and chat told so", async || {
        said += 1;
        let key = format!("key-{said}");
        ann.send(&room, &key, "on").await.unwrap();
        let mut all = true;
        for gateway in deployment.gateways() {
            let (_, told) = health(gateway).await;
            let named = told["degraded"].as_array().unwrap();
            assert!(named.iter().all(|role| role == "ratelimit"), "{told}");
            all &= told["services"]["ratelimit"]["status"] == "unavailable";
            looks += usize::from(!named.is_empty());
        }
        let chat = super::health::describe(deployment.grpc("chat")[said % 2]).await;
        all && chat.degraded == ["ratelimit"]
    })
    .await;
    until(&deployment, "degraded", &[("ratelimit", "unavailable")]).await;
    deployment.process("ratelimit", 0).thaw();
    until(&deployment, "ok", &[]).await;
    for nth in 0..2 {
        assert_eq!(lines(&mut deployment, nth, "ratelimit", "no instance answers"), 1);
        assert_eq!(lines(&mut deployment, nth, "ratelimit", "well again"), 1);
        assert!(lines(&mut deployment, nth, "ratelimit", "WARN") <= 2);
        assert_eq!(lines(&mut deployment, nth, "chat", ""), 0);
    }
    assert!(said > 0 && looks > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_reaches_no_chat_is_unavailable_and_one_of_two_is_none_less() {
    let mut deployment = plan().start().await;
    until(&deployment, "ok", &[]).await;
    deployment.kill9("chat", 0);
    let (mut ann, room) = talker(&deployment).await;
    ann.send(&room, "one", "one of two is left").await.unwrap();
    deployment.kill9("chat", 1);
    until(&deployment, "unavailable", &[("chat", "unavailable")]).await;
    deployment.start().await;
    until(&deployment, "ok", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_that_is_away_is_told_as_the_cause_by_every_gateway() {
    let deployment = plan().own_postgres().start().await;
    until(&deployment, "ok", &[]).await;
    deployment.postgres().unwrap().freeze();
    let database = [("chat", "degraded:database"), ("matchmaking", "degraded:database")];
    until(&deployment, "degraded", &database).await;
    deployment.postgres().unwrap().thaw();
    until(&deployment, "ok", &[]).await;
    deployment.redis().freeze();
    let redis = [
        ("chat", "degraded:redis"),
        ("matchmaking", "degraded:index,redis"),
        ("presence", "degraded:redis"),
        ("cache", "degraded:redis"),
        ("ratelimit", "degraded:redis"),
    ];
    until(&deployment, "degraded", &redis).await;
    deployment.redis().thaw();
    until(&deployment, "ok", &[]).await;
}
