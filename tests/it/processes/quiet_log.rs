//! What an operator reads while PostgreSQL hangs: that it does, once, and that
//! it is back, once. Not what each retry met.

use std::{collections::BTreeMap, time::Duration};

use mingle_client::ws::Encoding;
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tokio::time::{Instant, interval, timeout};

use super::urls;
use crate::{
    http,
    world::{SECRET, SOON, greet, token},
};

const FROZEN: Duration = Duration::from_secs(20);
/// Between two things that somebody does.
const STEP: Duration = Duration::from_millis(250);
/// Lines of one kind in one process: it began, it ended, and once more for a
/// state that came and went on the way.
const OF_A_KIND: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_database_is_told_once_and_that_it_is_back_once() {
    // With what is logged by default.
    let deployment = Deployment::plan()
        .env("MINGLE_JWT_SECRET", SECRET)
        .env("MINGLE_SESSION_SECRET", SECRET)
        .own_postgres()
        .start()
        .await;
    let gateway = deployment.gateways()[0];
    let body = json!({"kind": "DIRECT", "memberIds": ["ann", "bob"]});
    let made = http::post(gateway, "/api/rooms", &token("ann"), &body).await.ok();
    let room = made["roomId"].as_str().unwrap().to_owned();
    let mut eve = greet(&urls(&deployment)[1], "eve", Encoding::Json, None).await.unwrap();
    eve.match_join("random-chat", &[("gender", "female")], &[]).await.unwrap();
    let before = lines(&deployment);
    deployment.postgres().unwrap().freeze();
    let refused = refusals(&deployment, &room).await;
    assert!(refused > 10, "{refused} requests were refused");
    deployment.postgres().unwrap().thaw();
    let path = format!("/api/rooms/{room}/messages");
    eventually(SOON, "it is well again", async || {
        let body = json!({"clientMsgId": "last", "body": "last"});
        http::post(gateway, &path, &token("ann"), &body).await.status.is_success()
    })
    .await;
    eventually(SOON, "each says that it is back", async || {
        lines(&deployment).iter().all(|(process, told)| {
            let says = |words: &str| told.iter().any(|line| line.contains(words));
            let sweeps = !process.starts_with("matchmaking") || says("failed=");
            sweeps && (says("the database answers again") || !says("the database is away"))
        })
    })
    .await;
    let mut noisy = Vec::new();
    for (process, told) in lines(&deployment) {
        let mut kinds: BTreeMap<String, Vec<&String>> = BTreeMap::new();
        let new = &told[before.get(&process).map_or(0, Vec::len)..];
        for line in new {
            kinds.entry(kind(line)).or_default().push(line);
        }
        eprintln!("{process}: {} lines", new.len());
        for (kind, lines) in kinds {
            eprintln!("{:5} {kind}\n      e.g. {}", lines.len(), lines[0]);
            // Each instance that is given up has lines of its own.
            if lines.len() > OF_A_KIND && !kind.contains("peer ") {
                noisy.push(format!("{process}: {} times {kind}", lines.len()));
            }
        }
    }
    assert!(noisy.is_empty(), "{noisy:#?}");
    let all: Vec<String> = lines(&deployment).into_values().flatten().collect();
    let tells = |words: &str| all.iter().any(|line| line.contains(words));
    for words in ["the database is away", "the database answers again", "failed="] {
        assert!(tells(words), "{words}: {all:#?}");
    }
    for words in ["select ", "after_release", "a gap for every topic"] {
        assert!(!tells(words), "{words}: {all:#?}");
    }
}

/// People go on as long as it is frozen: they say something, search, and read.
/// Answers how many requests were refused.
async fn refusals(deployment: &Deployment, room: &str) -> usize {
    let [gateway, other] = deployment.gateways()[..] else { panic!("two gateways") };
    let (end, mut steps) = (Instant::now() + FROZEN, interval(STEP));
    let mut asked = Vec::new();
    let mut number = 0;
    while Instant::now() < end {
        steps.tick().await;
        number += 1;
        let (at, room) = (if number % 2 == 0 { gateway } else { other }, room.to_owned());
        asked.push(tokio::spawn(async move {
            let path = format!("/api/rooms/{room}/messages");
            let say = json!({"clientMsgId": format!("key {number}"), "body": "words"});
            let search = json!({"pool": "random-chat", "attributes": {"gender": "female"}});
            let answer = match number % 3 {
                0 => http::post(at, &path, &token("ann"), &say).await,
                1 => http::post(at, "/api/match/tickets", &token("fred"), &search).await,
                _ => http::get(at, &path, &token("bob")).await,
            };
            usize::from(answer.status.is_server_error())
        }));
    }
    let mut refused = 0;
    for answer in asked {
        refused += timeout(SOON, answer).await.expect("an answer").unwrap();
    }
    refused
}

/// What each process has logged, without when.
fn lines(deployment: &Deployment) -> BTreeMap<String, Vec<String>> {
    let of = |(role, process): (&str, &mingle_testkit::Mingle)| {
        let log = process.log();
        let dated = log.lines().filter_map(|line| line.split_once("Z "));
        let lines = dated.map(|(_, rest)| rest.trim().to_owned()).collect();
        (format!("{role} {}", process.pid()), lines)
    };
    deployment.running().map(of).collect()
}

/// The words of a line without what is of one occasion.
fn kind(line: &str) -> String {
    let fields = ["bus.source=", "backend=", "step=", "batch=", "state=", "causes="];
    let of_kind = |word: &&str| !word.contains('=') || fields.iter().any(|it| word.starts_with(it));
    line.split_whitespace().filter(of_kind).take(12).collect::<Vec<_>>().join(" ")
}
