//! What it costs when nobody is there, and that a look is found all the same.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use mingle_presence::{Config, bind, domain::partition, store::Store as _};
use mingle_runtime::{Context, config::Section as _};
use mingle_store::{Backends, bus::Memory as Bus, clock::ManualClock, sqlite::Sqlite};
use mingle_testkit::{Redis as Server, eventually};

use super::{Processes, ROOMY, names, socket};
use crate::harness::{
    servers::{self, SOON},
    world::{START, accepted, any, node},
};

/// As often as a role sweeps that finds nothing.
const PAUSE_MS: i64 = 250;
const MINUTE_MS: i64 = 60_000;
/// Each of a process's two connections asks for the time once a second.
const BEATS: u64 = 120;
/// What a minute may cost: 20 commands a second.
const MAX: u64 = 1_200;

/// Commands that the server has executed, those inside of scripts too.
fn executed(server: &Server) -> u64 {
    let stats = server.cli(&["INFO", "stats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}

/// A minute of sweeps of the first process, with `node` renewed if there is one.
/// Who changed, and by which sweep.
async fn minute(processes: &Processes, renews: Option<&str>) -> BTreeMap<String, i64> {
    let store = &processes.stores[0];
    let mut changed = BTreeMap::new();
    for sweep in 1..=MINUTE_MS / PAUSE_MS {
        processes.clock.advance(PAUSE_MS);
        if let Some(node) = renews.filter(|_| sweep % 4 == 0) {
            assert!(store.renew_node(node, 1).await.unwrap());
        }
        changed.extend(store.sweep().await.unwrap().into_iter().map(|user| (user, sweep)));
    }
    changed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_in_which_nobody_is_there() {
    let processes = Processes::start(1, ROOMY).await;
    let store = &processes.stores[0];
    store.sweep().await.unwrap();
    let before = executed(&processes.server);
    assert!(minute(&processes, None).await.is_empty());
    let idle = executed(&processes.server) - before;
    println!("idle: {idle} commands a minute by sweeps, {BEATS} by connections");
    assert!(idle + BEATS < MAX, "{idle}");
    assert_eq!(store.pause(), Duration::from_millis(250));

    // A node that lapses without anybody: all partitions are walked, once.
    store.register_node(node("a", 1)).await.unwrap();
    let before = executed(&processes.server);
    assert!(minute(&processes, None).await.is_empty());
    let lapsed = executed(&processes.server) - before;
    println!("the same with a node that lapses: {lapsed}");
    assert!(lapsed < idle + 300, "{lapsed}");
}

/// The role by itself, with the real clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_role() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let context = Context::for_test(&[Config::DEFAULTS], "");
    let backends = Backends {
        database: Sqlite::open(folder.path()).await.unwrap().into(),
        redis: Some(servers::connect(&server).await),
        bus: Arc::new(Bus::new()),
        clock: Arc::new(ManualClock::at(START)),
    };
    let _bound = bind(context.clone(), backends).await.unwrap();
    eventually(SOON, "the walk at the begin", async || executed(&server) > 256).await;
    let (before, begin) = (executed(&server), Instant::now());
    let mut asked = 0;
    eventually(SOON, "some sweeps", async || {
        asked += 1;
        executed(&server) > before + asked + 40
    })
    .await;
    let count = executed(&server) - before - asked - 1;
    let took = begin.elapsed().as_secs_f64();
    println!("an idle role: {:.0} commands a minute", 60.0 * count as f64 / took);
    // A slow machine sweeps less. At the edges one sweep and its like too many.
    assert!((count as f64) < 20.0 * took + 30.0, "{count} in {took} s");
    context.stop.cancel();
}

/// Whoever does not lead asks once a second, however often it sweeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_lead() {
    let processes = Processes::start(2, ROOMY).await;
    processes.stores[0].sweep().await.unwrap();
    let (before, begin) = (executed(&processes.server), Instant::now());
    for _ in 0..1_000 {
        processes.stores[1].sweep().await.unwrap();
    }
    let count = executed(&processes.server) - before;
    // Four commands of it, four beats of all connections, and INFO.
    let seconds = begin.elapsed().as_secs() + 1;
    assert!(count <= 8 * seconds + 8, "{count} in {seconds} s");
}

/// Users whose grace runs, at the begin of it.
async fn with_users_in_grace(count: usize) -> (Processes, Vec<String>) {
    let processes = Processes::start(2, ROOMY).await;
    let users = names(count);
    processes.stores[0].sweep().await.unwrap();
    processes.stores[0].register_node(node("a", 1)).await.unwrap();
    for user in &users {
        assert_eq!(processes.connect(1, "a", socket(user, 1, "x")).await, accepted(true));
        assert!(!processes.stores[1].disconnect(user, "s", any(1)).await.unwrap());
    }
    (processes, users)
}

/// What another process planned is found by the first sweep when it is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_is_on_time() {
    let (processes, users) = with_users_in_grace(12).await;
    let changed = minute(&processes, Some("a")).await;
    let expected = users.into_iter().map(|user| (user, 10_000 / PAUSE_MS));
    assert_eq!(changed, expected.collect());
    assert_eq!(processes.keys("*{p:due}*"), Vec::<String>::new(), "nothing is planned");
}

/// A hint that was lost costs at most a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_hint_is_mended() {
    let (processes, mut users) = with_users_in_grace(12).await;
    let hints = processes.keys("*{p:due}*");
    assert_eq!(hints.len(), 1);
    let lives: i64 = processes.server.cli(&["PTTL", &hints[0]]).parse().unwrap();
    assert!((23 * 3_600_000..=24 * 3_600_000).contains(&lives), "{lives}");
    // Due, and nobody knows.
    for _ in 0..10 {
        processes.clock.advance(1_000);
        assert!(processes.stores[0].renew_node("a", 1).await.unwrap());
    }
    assert_eq!(processes.server.cli(&["DEL", &hints[0]]), "1");
    assert!(processes.stores[0].sweep().await.unwrap().is_empty());
    let changed = minute(&processes, Some("a")).await;
    let (first, last) = (changed.values().min().copied(), changed.values().max().copied());
    println!("found by sweeps {first:?} to {last:?} of {}", MINUTE_MS / PAUSE_MS);
    let mut found: Vec<_> = changed.into_keys().collect();
    // What the last of the minute mended, if the fourth sweep came later.
    for _ in 0..4 {
        processes.clock.advance(PAUSE_MS);
        found.extend(processes.stores[0].sweep().await.unwrap());
    }
    found.sort_unstable();
    users.sort_unstable();
    assert_eq!(found, users);
}

/// However looks are planned while others are looked at: no hint is later than
/// the earliest look of its partition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hint_is_lost_to_a_sweep() {
    let processes = Processes::start(2, ROOMY).await;
    // All of one partition, which is always looked at.
    let users = (0..).map(|at| format!("u{at}")).filter(|user| partition(user) == 0);
    let users: Vec<_> = users.take(300).collect();
    processes.stores[0].register_node(node("a", 1)).await.unwrap();
    for (pair, later) in users.chunks(2).zip((0..12).cycle()) {
        let [one, other] = pair else { unreachable!("pairs") };
        for user in pair {
            processes.connect(1, "a", socket(user, 1, "x")).await;
        }
        processes.stores[1].disconnect(one, "s", any(1)).await.unwrap();
        for _ in 0..10 {
            processes.clock.advance(1_000);
            assert!(processes.stores[1].renew_node("a", 1).await.unwrap());
        }
        let (swept, left) = tokio::join!(processes.stores[0].sweep(), async {
            // Anywhere in the sweep.
            for _ in 0..later {
                processes.stores[1].get_many(std::slice::from_ref(other)).await.unwrap();
            }
            processes.stores[1].disconnect(other, "s", any(1)).await
        });
        swept.unwrap();
        left.unwrap();
        let first = |pattern: &str| {
            let key = processes.keys(pattern).pop().unwrap_or_default();
            let answer = processes.server.cli(&["ZRANGE", &key, "0", "0", "WITHSCORES"]);
            answer.lines().nth(1).map(|score| score.parse::<f64>().unwrap())
        };
        let (look, hint) = (first("*{p:0}*:due"), first("*{p:due}*"));
        assert!(hint.is_some() && hint <= look, "{other}: hinted {hint:?}, planned {look:?}");
    }
}
