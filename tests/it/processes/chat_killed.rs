//! `kill -9` of chat under pairs who talk over two gateways.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures::future::join_all;
use mingle_testkit::{Deployment, eventually};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::{
    sync::{Barrier, watch},
    time::Instant,
};

use super::{
    plan,
    speaker::{Speaker, Tally},
    urls,
};
use crate::{
    http,
    ledger::{Ledger, Row},
    world::{SOON, token},
};

const PAIRS: usize = 100;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_secs(1);
/// Messages between two kills.
const BETWEEN: usize = 200;

/// How long it goes on.
fn length() -> Duration {
    let minutes = if std::env::var_os("MINGLE_SOAK").is_some() { 10 } else { 1 };
    Duration::from_secs(minutes * 60)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_chat_loses_and_doubles_nothing() {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut deployment = plan().start().await;
    let ledger = Arc::new(Ledger::postgres(&deployment.database().url).await);
    let tally = Arc::new(Tally::default());
    let (end, over) = watch::channel(false);
    let quiet = Arc::new(Barrier::new(2 * PAIRS));
    let mut speaking = Vec::new();
    for pair in 0..PAIRS {
        let users = [format!("ann-{pair}"), format!("bob-{pair}")];
        let body = json!({"kind": "DIRECT", "memberIds": users});
        let gateway = deployment.gateways()[0];
        let room = http::post(gateway, "/api/rooms", &token(&users[0]), &body).await.ok();
        let room = room["roomId"].as_str().unwrap().to_owned();
        let mut urls = urls(&deployment);
        for user in &users {
            let speaker = Speaker::new(user, &room, urls.clone(), tally.clone());
            let end = (quiet.clone(), ledger.clone());
            speaking.push(tokio::spawn(speaker.live(PAUSE, over.clone(), end)));
            urls.reverse();
        }
    }
    let (begin, mut kills) = (Instant::now(), 0);
    while begin.elapsed() < length() {
        let said = tally.acknowledged.load(Relaxed);
        eventually(SOON * 2, "the pairs talk on", async || {
            tally.acknowledged.load(Relaxed) >= said + BETWEEN
        })
        .await;
        deployment.kill_and_restart("chat", dice.random_range(0..2)).await;
        kills += 1;
    }
    // Every announcement that a killed process took with it is found by heads.
    end.send_replace(true);
    let speakers: Vec<Speaker> = join_all(speaking).await.into_iter().map(Result::unwrap).collect();

    ledger.assert_gapless().await;
    let logs = ledger.rooms().await;
    for speaker in &speakers {
        assert_as_in(&logs, speaker);
    }
    let by_users = tally.retried.load(Relaxed) as u64;
    let by_gateways = retries(&mut deployment).await;
    eprintln!(
        "{kills} kills; {} acknowledged; {by_gateways} calls retried by gateways, {by_users} sends by users",
        tally.acknowledged.load(Relaxed)
    );
    assert!(by_gateways + by_users > 0, "no call met a killed process");
}

/// Calls that the gateways made again at another instance.
async fn retries(deployment: &mut Deployment) -> u64 {
    let mut retries = 0;
    for at in 0..2 {
        let probes = deployment.process("gateway", at).probes_addr();
        retries += http::counter(probes, "mingle_peer_retries_total").await;
    }
    retries
}

/// Each acknowledged message is there once, and what was heard is the log.
pub(super) fn assert_as_in(logs: &BTreeMap<String, Vec<Row>>, speaker: &Speaker) {
    let log = &logs[&speaker.room];
    for (key, sent) in &speaker.said {
        let of_key: Vec<_> = log.iter().filter(|row| row.client_msg_id == *key).collect();
        assert_eq!(of_key.len(), 1, "{key}");
        assert_eq!(of_key[0].position.seq, sent.seq, "{key}");
        assert_eq!(of_key[0].position.id, sent.message_id, "{key}");
    }
    let written: Vec<_> = log.iter().map(|row| row.position.clone()).collect();
    assert_eq!(speaker.heard, written, "{} in {}", speaker.user, speaker.room);
}
