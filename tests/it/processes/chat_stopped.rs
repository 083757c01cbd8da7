//! One of two processes of chat stands still under pairs who talk: its
//! connections stay, and nothing answers.

use std::{net::SocketAddr, time::Duration};

use mingle_testkit::{Deployment, eventually};
use tokio::time::Instant;

use super::{pairs::Talk, plan};
use crate::{
    checker::{What, figures},
    http,
    ledger::Ledger,
    world::SOON,
};

const PAIRS: usize = 40;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_millis(500);
/// Messages between two looks.
const BETWEEN: usize = 200;
/// How long it stands still after it was found out: long enough to be asked
/// several times.
const STOPPED: Duration = Duration::from_secs(20);

/// Transactions that nobody goes on with. PostgreSQL ends those after 10 s; until
/// then their rooms refuse messages.
const HELD: &str = "select count(*) from pg_stat_activity where datname = current_database() \
     and state like 'idle in transaction%' and state_change < now() - interval '3 s'";

const EJECTED: &str = r#"mingle_peers{role="chat",state="ejected"}"#;
const RETRIES: &str = r#"mingle_peer_retries_total{role="chat"}"#;

/// What processes of a role show in one line of their metrics.
async fn shown(deployment: &Deployment, role: &str, line: &str) -> Vec<u64> {
    let mut shown = Vec::new();
    for (_, process) in deployment.running().filter(|(other, _)| *other == role) {
        let metrics = http::get(process.probes_addr(), "/metrics", "").await.text;
        let value = metrics.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok());
        shown.push(value.unwrap_or(0));
    }
    shown
}

/// Streams of events that each chat was asked for, and messages.
async fn served(deployment: &Deployment, method: &str) -> Vec<u64> {
    let line = format!(r#"mingle_rpcs_total{{service="ChatService",method="{method}",code="0"}}"#);
    shown(deployment, "chat", &line).await
}

/// What each gateway said of a peer since it started.
fn said(deployment: &mut Deployment, word: &str, peer: SocketAddr) -> Vec<usize> {
    let peer = format!("peer=http://{peer}/");
    let gateways = (0..2).map(|at| deployment.process("gateway", at).log());
    let lines =
        |log: String| log.lines().filter(|it| it.contains(word) && it.contains(&peer)).count();
    gateways.map(lines).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_stands_still_is_found_out_once() {
    let plan = plan().env("MINGLE_PROCESS__LOG", "info");
    let mut deployment = plan.start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (PAIRS, PAUSE)).await;
    talk.goes_on(BETWEEN).await;
    let streams = served(&deployment, "Subscribe").await;
    let stopped = usize::from(streams[1] > streams[0]);
    assert!(streams[stopped] > 0 && streams.len() == 2, "{streams:?}");
    assert_eq!(shown(&deployment, "gateway", EJECTED).await, [0, 0]);

    let peer = deployment.grpc("chat")[stopped];
    let begin = Instant::now();
    deployment.process("chat", stopped).freeze();
    eventually(SOON, "both gateways gave it up", async || {
        said(&mut deployment, "peer given up", peer) == [1, 1]
    })
    .await;
    eventually(SOON, "it holds no room locked", async || ledger.count(HELD).await == 0).await;
    talk.goes_on(BETWEEN).await;
    assert_eq!(shown(&deployment, "gateway", EJECTED).await, [1, 1]);
    let found_out = Instant::now();
    let retries = shown(&deployment, "gateway", RETRIES).await;
    assert!(retries.iter().sum::<u64>() > 0, "no call met it");
    while found_out.elapsed() < STOPPED {
        talk.goes_on(BETWEEN).await;
    }
    assert_eq!(shown(&deployment, "gateway", RETRIES).await, retries, "calls met it again");
    assert_eq!(said(&mut deployment, "peer given up", peer), [1, 1]);
    let end = Instant::now();

    deployment.process("chat", stopped).thaw();
    eventually(SOON, "both gateways call it again", async || {
        shown(&deployment, "gateway", EJECTED).await == [0, 0]
    })
    .await;
    let sends = served(&deployment, "Send").await[stopped];
    eventually(SOON, "it is sent messages", async || {
        served(&deployment, "Send").await[stopped] > sends + BETWEEN as u64
    })
    .await;
    let again = said(&mut deployment, "peer answers calls again", peer);
    assert!(again.iter().all(|times| *times > 0), "{again:?}");
    let (now, other) = (served(&deployment, "Subscribe").await, 1 - stopped);
    let moved = streams[other] + streams[stopped];
    assert!(now[other] >= moved, "every stream is at the other: {streams:?}, then {now:?}");
    assert_eq!(talk.resumed(), 0, "no socket was lost");
    let journals = talk.end(&ledger).await;
    let heard = figures(&journals, (begin, end)).longest.get(&What::Hear).copied();
    let figures = figures(&journals, (found_out, end));
    assert!(figures.failures.is_empty(), "refused after it was found out: {figures:?}");
    eprintln!(
        "{retries:?} calls met it; heard after {heard:?} at most; then waits {:?}",
        figures.longest
    );
}
