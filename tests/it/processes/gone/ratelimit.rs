//! Ratelimit is gone: whoever asked it decides by itself, by its own policy.

use std::net::SocketAddr;

use mingle_client::ws::{Encoding, Socket, proto::server_frame::Kind};
use mingle_proto::ratelimit::v1::{
    Charge, PeekRequest, rate_limit_service_client::RateLimitServiceClient,
};
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tonic::{Code, transport::Channel};

use super::{Duration, Ledger, Talk, away, meet, pass};
use crate::{
    bad_input::{ask, hello},
    http::{get, post},
    processes::{
        limits::{Client, QUOTA, clients, message, room},
        plan, urls,
    },
    world::{SOON, greet, token},
};

/// A gateway and a chat process of two each have half of it.
const SHARE: usize = QUOTA / 2;
/// Slow enough for a share.
const PAUSE: Duration = Duration::from_secs(4);
/// Processes have heard each other, and looked how many they are.
const ACQUAINTED: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_ratelimit_each_process_counts_its_share_and_auth_is_closed() {
    let mut deployment = plan()
        .env("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__QUOTA", QUOTA.to_string())
        .env("MINGLE_CHAT__LIMIT__QUOTA", QUOTA.to_string())
        .env("MINGLE_GATEWAY__CLASSES__API__QUOTA", "1000")
        .env("MINGLE_GATEWAY__CLASSES__AUTH__OUTAGE", "closed")
        .start()
        .await;
    let clients = clients(&deployment);
    let loud = room(&mut clients[0].clone()).await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (2, PAUSE)).await;
    for gateway in deployment.gateways() {
        assert_eq!(get(gateway, "/api/rooms", "guess").await.problem().2, "TOKEN_INVALID");
    }
    pass(ACQUAINTED).await;

    deployment.kill9("ratelimit", 0);
    let said = [shout(&clients[0], &loud, "a").await, shout(&clients[1], &loud, "b").await];
    assert_eq!(said, [SHARE, SHARE], "of {QUOTA}");
    for (gateway, url) in deployment.gateways().into_iter().zip(urls(&deployment)) {
        assert_closed(gateway, &url).await;
        assert_open(gateway, &url).await;
    }
    meet(&urls(&deployment), "meanwhile").await;
    pass(away()).await;
    talk.goes_on(4).await;

    deployment.start().await;
    for gateway in deployment.gateways() {
        eventually(SOON, "auth is counted again", async || {
            get(gateway, "/api/rooms", "guess").await.problem().2 == "TOKEN_INVALID"
        })
        .await;
    }
    assert_exact(&deployment, &clients, &loud).await;
    talk.end_among_others(&ledger).await;
}

/// Says more than any share by one process; how much was admitted.
async fn shout(client: &Client, room: &str, name: &str) -> usize {
    let mut admitted = 0;
    for n in 0..2 * QUOTA {
        match client.clone().send(message("ann", room, &format!("{name}-{n}"))).await {
            Ok(_) => admitted += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
        }
    }
    admitted
}

/// Who guesses tokens or asks for one is told that nobody counts.
async fn assert_closed(gateway: SocketAddr, url: &str) {
    let guess = get(gateway, "/api/rooms", "guess").await;
    let wish = post(gateway, "/api/dev/token", "", &json!({"userId": "ann"})).await;
    for refused in [guess, wish] {
        assert_eq!(refused.problem(), (503, "UNAVAILABLE", "UNAVAILABLE", ""));
        let millis = refused.body["retryAfterMs"].as_u64().unwrap();
        assert!((1000..=2000).contains(&millis), "{refused:?}");
        assert_eq!(refused.header("retry-after"), millis.div_ceil(1000).to_string());
    }
    let mut socket = Socket::connect(url, Encoding::Json).await.unwrap();
    let Kind::Error(error) = ask(&mut socket, hello("guess")).await else { panic!() };
    assert_eq!((&*error.code, &*error.reason), ("UNAVAILABLE", "UNAVAILABLE"));
    assert!(error.retry_after_ms > 0, "{error:?}");
}

/// A good token enters, and its requests are counted here.
async fn assert_open(gateway: SocketAddr, url: &str) {
    greet(url, "carol", Encoding::Proto, None).await.unwrap();
    let rooms = get(gateway, "/api/rooms", &token("carol")).await;
    assert_eq!(rooms.header("ratelimit-policy"), "\"api\";q=500;w=60", "half of it");
    rooms.ok();
}

/// Two processes admit the quota together, as soon as both count together.
async fn assert_exact(deployment: &Deployment, clients: &[Client], room: &str) {
    let at = deployment.grpc("ratelimit")[0];
    let channel = Channel::from_shared(format!("http://{at}")).unwrap().connect_lazy();
    let limits = RateLimitServiceClient::new(channel);
    let left = async |user: &str| {
        let limits_of = vec!["chat_message".to_owned()];
        let charge = Some(Charge { subject: user.to_owned(), limits: limits_of, cost: Some(1) });
        let state = limits.clone().peek(PeekRequest { charge }).await.unwrap().into_inner();
        assert!(!state.degraded);
        state.states[0].remaining
    };
    for (at, client) in clients.iter().enumerate() {
        let before = left("ann").await;
        let mut n = 0;
        eventually(SOON, "chat counts together", async || {
            n += 1;
            let _ = client.clone().send(message("ann", room, &format!("warm-{at}-{n}"))).await;
            left("ann").await < before
        })
        .await;
    }
    let mut admitted = 0;
    for n in 0..2 * QUOTA {
        let mut client = clients[n % 2].clone();
        match client.send(message("bob", room, &format!("exact-{n}"))).await {
            Ok(_) => admitted += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
        }
    }
    assert_eq!((admitted, left("bob").await), (QUOTA, 0));
}
