//! One of two instances is cut off alone, and a gateway's stream is at it: what
//! the other one knows, whoever is connected to that gateway is told all the
//! same. All of them are cut off: nobody hurries.

use std::time::{Duration, Instant};

use mingle_client::ws::{
    Client, Encoding, Limits, Socket,
    proto::{PresenceStatus, server_frame::Kind},
};
use mingle_testkit::{Deployment, Fault, To, eventually};
use serde_json::json;
use tokio::time::timeout;

use super::{health::describe, plan, urls};
use crate::{
    http,
    world::{FUTURE, SOON, greet, mint, next_event, token},
};

/// Much longer than a blind instance keeps its streams, and shorter than a
/// stream lives.
const TOLD: Duration = Duration::from_secs(60);

/// Waits until a process says that it is without `server`.
async fn is_without(deployment: &Deployment, (role, nth): (&str, usize), server: &str) {
    eventually(SOON, "it is known there", async || {
        let told = describe(deployment.grpc(role)[nth]).await.degraded;
        told.iter().any(|state| state == server)
    })
    .await;
}

async fn is_well(deployment: &Deployment, role: &str) {
    for at in deployment.grpc(role) {
        eventually(SOON, "all are well", async || describe(at).await.degraded.is_empty()).await;
    }
}

/// Reads until this is told of the user.
async fn hears(watcher: &mut Client, user: &str, status: PresenceStatus) {
    let heard = watcher.event_where(|event| match event {
        Kind::Presence(it) => (it.user_id == user && it.status() == status).then_some(()),
        _ => None,
    });
    let heard = timeout(TOLD, heard).await;
    heard.unwrap_or_else(|_| panic!("{user} {status:?} is told to nobody")).unwrap();
}

/// Somebody who may watch everybody.
async fn watcher(url: &str, users: &[&str]) -> Client {
    let claims = json!({"sub": "watcher", "exp": FUTURE, "aud": "mingle",
        "presence": {"visibility": "any"}});
    let limits = Limits { reply: SOON, events: 1 << 20 };
    let mut watcher = Client::over(Socket::connect(url, Encoding::Json).await.unwrap(), limits);
    watcher.hello(&mint(&claims), None).await.unwrap();
    watcher.presence_watch(users).await.unwrap();
    watcher
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_is_told_although_one_presence_is_cut_off() {
    let deployment = plan().count("presence", 2).ways().start().await;
    let urls = urls(&deployment);
    let users = ["user-0", "user-1"];
    let mut watcher = watcher(&urls[0], &users).await;
    // The stream is at one of both.
    for (nth, user) in users.into_iter().enumerate() {
        is_well(&deployment, "presence").await;
        let way = deployment.way("presence", nth, To::Redis);
        way.set(Fault::Cut);
        is_without(&deployment, ("presence", nth), "redis").await;
        let client = greet(&urls[1], user, Encoding::Json, None).await.unwrap();
        hears(&mut watcher, user, PresenceStatus::Online).await;
        client.close().await.unwrap();
        hears(&mut watcher, user, PresenceStatus::Offline).await;
        way.set(Fault::None);
        assert!(way.traffic().cut > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_is_told_although_one_chat_is_cut_off() {
    let deployment = plan().count("chat", 2).ways().start().await;
    let urls = urls(&deployment);
    let gateway = deployment.gateways()[0];
    let mut ann = greet(&urls[0], "ann", Encoding::Json, None).await.unwrap();
    let mut bob = greet(&urls[1], "bob", Encoding::Json, None).await.unwrap();
    let body = json!({"kind": "CHANNEL", "name": "all"});
    let room = http::post(gateway, "/api/rooms", &token("ann"), &body).await.ok();
    let room = room["roomId"].as_str().unwrap().to_owned();
    ann.room_join(&room, None).await.unwrap();
    bob.room_join(&room, None).await.unwrap();
    for nth in 0..2 {
        is_well(&deployment, "chat").await;
        for to in [To::Redis, To::Postgres] {
            deployment.way("chat", nth, to).set(Fault::Cut);
        }
        is_without(&deployment, ("chat", nth), "redis").await;
        let mut said = String::new();
        eventually(SOON, "the other one takes it", async || {
            said = format!("said {nth}");
            ann.send(&room, &said, &said).await.is_ok()
        })
        .await;
        for client in [&mut ann, &mut bob] {
            let heard = async {
                loop {
                    let event = next_event(client).await.unwrap();
                    if matches!(&event, Kind::Message(it) if it.body == said) {
                        return;
                    }
                }
            };
            timeout(TOLD, heard).await.expect("what was acknowledged is heard");
        }
        for to in [To::Redis, To::Postgres] {
            let way = deployment.way("chat", nth, to);
            way.set(Fault::None);
            assert!(way.traffic().cut > 0, "{to}");
        }
    }
}

/// Streams that presence refused: UNAVAILABLE.
async fn refused(deployment: &mut Deployment) -> u64 {
    let mut refused = 0;
    for nth in 0..2 {
        let probes = deployment.process("presence", nth).probes_addr();
        let metrics = http::get(probes, "/metrics", "").await.text;
        let is_one = |line: &&str| {
            let labels = ["mingle_rpcs_total{", "method=\"Watch\"", "code=\"14\""];
            labels.iter().all(|label| line.contains(label))
        };
        let counts = metrics.lines().filter(is_one).filter_map(|line| line.rsplit(' ').next());
        refused += counts.map(|count| count.parse::<u64>().unwrap()).sum::<u64>();
    }
    refused
}

/// What a gateway asks for in a second at most, its back-off at its longest: a
/// few times as often as on average.
const SELDOM: f64 = 5.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_every_presence_is_cut_off_nobody_hurries_and_users_are_unknown() {
    const WHILE: Duration = Duration::from_secs(10);
    let mut deployment = plan().count("presence", 2).start().await;
    let urls = urls(&deployment);
    let _bob = greet(&urls[1], "bob", Encoding::Json, None).await.unwrap();
    let mut watcher = watcher(&urls[0], &["bob"]).await;
    hears(&mut watcher, "bob", PresenceStatus::Online).await;
    deployment.redis().kill();
    hears(&mut watcher, "bob", PresenceStatus::Unknown).await;
    let before = eventually(SOON, "streams end, and none is opened", async || {
        Some(refused(&mut deployment).await).filter(|refused| *refused > 0)
    })
    .await;
    let begin = Instant::now();
    // What is heard first may have been said before presence was found out.
    let (mut is_shown, mut well_again) = (false, 0);
    while begin.elapsed() < WHILE {
        let event = timeout(WHILE.saturating_sub(begin.elapsed()), watcher.event()).await;
        if let Ok(Kind::Degraded(degraded)) = event.map(Result::unwrap) {
            let shows = degraded.states.iter().any(|state| state == "presence");
            well_again += usize::from(is_shown && !shows);
            is_shown = shows;
        }
    }
    let asked = refused(&mut deployment).await - before;
    eprintln!("{asked} streams were asked for in {:?}", begin.elapsed());
    assert!(asked > 0, "gateways ask on");
    assert!((asked as f64) < begin.elapsed().as_secs_f64() * 2.0 * SELDOM, "{asked}");
    assert_eq!(well_again, 0, "what is told of presence does not flicker");
    deployment.redis().restart().await;
    hears(&mut watcher, "bob", PresenceStatus::Online).await;
}
