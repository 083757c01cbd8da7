//! Redis frozen for 20 s, woken, then killed and restarted empty, in mid
//! conversation of a hundred pairs over two gateways.

use std::time::Duration;

use mingle_testkit::{Deployment, eventually};
use tokio::time::Instant;

use super::{
    bystanders::{Watcher, meet},
    health::describe,
    monitor::{Executed, Monitor},
    pairs::Talk,
    plan, urls,
};
use crate::{
    http,
    ledger::Ledger,
    world::{SOON, token},
};

const PAIRS: usize = 100;
/// Between the time that a script is told and the one that MONITOR tells, in
/// seconds: a script near its end may be either.
const FED: f64 = 0.05;
/// Between two messages of one user.
const PAUSE: Duration = Duration::from_secs(1);
const FROZEN: Duration = Duration::from_secs(20);
/// Messages acknowledged in each state of Redis.
const BETWEEN: usize = 400;
/// Pairs of strangers who meet in each.
const MEET: usize = 5;

/// A reply of a gateway and one of a service that bear the mark.
async fn are_marked(deployment: &Deployment) {
    let gateway = deployment.gateways()[1];
    let answer = http::get(gateway, "/api/presence?user=ann-0", &token("bob-0")).await;
    assert!(answer.header("mingle-degraded").contains("presence"), "{answer:?}");
    assert_eq!(answer.ok()["presences"][0]["status"], "UNKNOWN");
    let told = describe(deployment.grpc("chat")[0]).await.degraded;
    assert!(told.iter().any(|state| state == "redis"), "{told:?}");
    let health = http::get(gateway, "/api/health", "").await.ok();
    assert_eq!(health["status"], "degraded");
}

/// Scripts that a woken server ran for callers who had given up, of all that it
/// executed: each asked for the time and did nothing else.
fn assert_late_is_idle(executed: &[Executed]) -> usize {
    let (mut late, mut is_late) = (0, false);
    for command in executed {
        if !command.is_nested {
            is_late = command.not_after().is_some_and(|end| command.at > end + FED);
            late += usize::from(is_late);
        } else if is_late {
            assert_eq!(command.name(), "TIME", "by a late script: {command:?}");
        }
    }
    late
}

/// Whether a command may run whenever it likes: it reads, tells, or only brings
/// forward when something is looked at. Whatever else changes is in a script,
/// which has an end.
fn may_be_late(command: &Executed) -> bool {
    match command.name().as_str() {
        "EVALSHA" | "EVAL" | "SCRIPT" | "PUBLISH" | "SUBSCRIBE" | "UNSUBSCRIBE" | "PING" => true,
        "TIME" | "INFO" | "EXISTS" | "HGET" | "HGETALL" | "ZRANGE" | "ZSCORE" => true,
        // The fence's own pulse, and the times at which sessions are looked at.
        "HSET" => command.text.ends_with(r#""pulse" "1""#),
        "ZADD" => command.text.contains(r#" "LT" "#),
        "PEXPIRE" => true,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pairs_talk_through_a_redis_that_freezes_and_comes_back_empty() {
    let deployment = plan().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (PAIRS, PAUSE)).await;
    talk.goes_on(BETWEEN).await;
    let mut watcher = Watcher::start(&urls(&deployment)[0], &talk.users()).await;

    let log = Monitor::start(deployment.redis()).await;
    deployment.redis().freeze();
    let frozen = Instant::now();
    meet(&deployment, MEET, "frozen").await;
    watcher.is_told(Some("presence")).await;
    are_marked(&deployment).await;
    talk.goes_on(BETWEEN).await;
    eventually(SOON, "it was frozen for long", async || frozen.elapsed() > FROZEN).await;
    meet(&deployment, MEET, "long frozen").await;
    deployment.redis().thaw();
    talk.goes_on(BETWEEN).await;
    watcher.is_told(None).await;
    let executed = log.end(deployment.redis()).await;
    let unbounded = executed.iter().find(|it| !it.is_nested && !may_be_late(it));
    assert!(unbounded.is_none(), "{unbounded:?}");
    let late = assert_late_is_idle(&executed);
    meet(&deployment, MEET, "woken").await;

    deployment.redis().kill();
    talk.goes_on(BETWEEN).await;
    meet(&deployment, MEET, "dead").await;
    watcher.is_told(Some("presence")).await;
    deployment.redis().restart_empty().await;
    watcher.is_told(None).await;
    talk.goes_on(BETWEEN).await;
    meet(&deployment, MEET, "empty").await;

    assert_eq!(talk.resumed(), 0, "no socket was lost");
    talk.end(&ledger).await;
    watcher.assert_saw_nobody_leave();
    eprintln!("{late} scripts came late and did nothing");
    assert!(late > 0, "a woken redis had something to do");
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    let strangers = i64::try_from(2 * MEET * 5).unwrap();
    assert_eq!(ledger.count(matched).await, strangers, "each once");
    let matches = "select count(*) from mm_matches where room_id is not null";
    assert_eq!(ledger.count(matches).await * 2, strangers);
}
