//! Redis frozen for 20 s, woken, then killed and restarted empty, in mid
//! conversation of a hundred pairs over two gateways.

use std::time::Duration;

use mingle_client::ws::Encoding;
use mingle_testkit::{Deployment, Redis, eventually};
use tokio::time::Instant;

use super::{
    bystanders::{Watcher, meet},
    health::describe,
    monitor::{Executed, Monitor},
    pairs::{SELDOM, Talk, assert_delivered},
    plan, urls,
};
use crate::{
    http,
    ledger::Ledger,
    world::{SOON, greet, token},
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
/// Who only looks.
const WATCHERS: usize = 1;

/// Replies of each gateway and of each service bear the mark.
async fn are_marked(deployment: &Deployment) {
    for gateway in deployment.gateways() {
        eventually(SOON, "a gateway's answers are marked", async || {
            let answer = http::get(gateway, "/api/presence?user=ann-0", &token("bob-0")).await;
            let health = http::get(gateway, "/api/health", "").await.ok();
            answer.header("mingle-degraded").contains("presence")
                && answer.ok()["presences"][0]["status"] == "UNKNOWN"
                && health["status"] == "degraded"
        })
        .await;
    }
    for at in ["chat", "matchmaking", "presence"].iter().flat_map(|role| deployment.grpc(role)) {
        eventually(SOON, "a service says that redis is away", async || {
            describe(at).await.degraded.iter().any(|state| state == "redis")
        })
        .await;
    }
}

/// Searches that each process of matchmaking was asked for.
async fn searches(deployment: &Deployment) -> Vec<u64> {
    let mut searches = Vec::new();
    for (_, process) in deployment.running().filter(|(role, _)| *role == "matchmaking") {
        let metrics = http::get(process.probes_addr(), "/metrics", "").await.text;
        let asked = metrics.lines().filter(|line| {
            line.starts_with("mingle_rpcs_total{") && line.contains(r#"method="CreateTicket""#)
        });
        searches.push(asked.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum());
    }
    searches
}

/// What the new generation of Redis holds of users who are there, and of those
/// who look for somebody.
fn held(redis: &Redis) -> (usize, usize) {
    let generation = redis.cli(&["HGET", "mingle:{fence}", "generation"]);
    let count = |pattern: &str| -> usize {
        let script = "local n = 0 for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
                      n = n + redis.call('HLEN', key) end return n";
        redis.cli(&["EVAL", script, "0", pattern]).parse().unwrap()
    };
    let users = format!("mingle:{{p:*}}:{}:[uw]:*", &generation[..8]);
    let waiting = format!("mingle:{{mm:random-chat}}:1:{generation}:*:e");
    (count(&users), count(&waiting))
}

/// Nobody is left in Redis who is gone: one who waits is there until they do not.
async fn assert_holds_who_is_there(deployment: &Deployment, users: usize) {
    let mut waits = greet(&urls(deployment)[0], "waits", Encoding::Json, None).await.unwrap();
    let (of, wants) = ([("gender", "other")], [("gender", &["other"][..])]);
    let ticket = waits.match_join("random-chat", &of, &wants).await.unwrap();
    eventually(SOON, "those who are there", async || held(deployment.redis()) == (users + 1, 1))
        .await;
    waits.match_leave(&ticket.ticket_id).await.unwrap();
    waits.close().await.unwrap();
    eventually(SOON, "nobody else", async || held(deployment.redis()) == (users, 0)).await;
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
        "AUTH" | "EVALSHA" | "EVAL" | "SCRIPT" | "PUBLISH" | "SUBSCRIBE" | "UNSUBSCRIBE" => true,
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
    let deployment = plan().env(SELDOM.0, SELDOM.1).start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (PAIRS, PAUSE)).await;
    talk.goes_on(BETWEEN).await;
    let mut watcher = Watcher::start(&urls(&deployment)[0], &talk.users()).await;

    let log = Monitor::start(deployment.redis()).await;
    let asked = searches(&deployment).await;
    deployment.redis().freeze();
    let frozen = Instant::now();
    meet(&deployment, MEET, "frozen").await;
    watcher.is_told(Some("presence")).await;
    are_marked(&deployment).await;
    talk.goes_on(BETWEEN).await;
    eventually(SOON, "it was frozen for long", async || frozen.elapsed() > FROZEN).await;
    meet(&deployment, MEET, "long frozen").await;
    let asked_since = searches(&deployment).await;
    let both = asked_since.iter().zip(&asked).all(|(since, before)| since > before);
    assert!(both && asked.len() == 2, "{asked:?}, then {asked_since:?}");
    let frozen = (frozen, Instant::now());
    deployment.redis().thaw();
    talk.goes_on(BETWEEN).await;
    watcher.is_told(None).await;
    let executed = log.end(deployment.redis()).await;
    let unbounded = executed.iter().find(|it| !it.is_nested && !may_be_late(it));
    assert!(unbounded.is_none(), "{unbounded:?}");
    let late = assert_late_is_idle(&executed);
    meet(&deployment, MEET, "woken").await;

    let killed = Instant::now();
    deployment.redis().kill();
    talk.goes_on(BETWEEN).await;
    meet(&deployment, MEET, "dead").await;
    watcher.is_told(Some("presence")).await;
    are_marked(&deployment).await;
    let dead = (killed, Instant::now());
    deployment.redis().restart_empty().await;
    watcher.is_told(None).await;
    let empty = Instant::now();
    talk.goes_on(BETWEEN).await;
    meet(&deployment, MEET, "empty").await;
    let users = talk.users().len() + WATCHERS;
    assert_holds_who_is_there(&deployment, users).await;
    let empty = (empty, Instant::now());

    assert_eq!(talk.resumed(), 0, "no socket was lost");
    let journals = talk.end(&ledger).await;
    for span in [frozen, dead, empty] {
        assert_delivered(&journals, span);
    }
    watcher.assert_saw_nobody_leave();
    eprintln!("{late} scripts came late and did nothing");
    assert!(late > 0, "a woken redis had something to do");
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    let strangers = i64::try_from(2 * MEET * 5).unwrap();
    assert_eq!(ledger.count(matched).await, strangers, "each once");
    let matches = "select count(*) from mm_matches where room_id is not null";
    assert_eq!(ledger.count(matches).await * 2, strangers);
}
