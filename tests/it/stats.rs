//! What a gateway tells of one process, compared with what the clients did and with
//! what the kernel says of the process.

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use futures::future::join_all;
use mingle_client::ws::Encoding;
use mingle_testkit::{Mingle, eventually};
use serde_json::{Value, json};

use crate::{
    http::get,
    world::{FUTURE, SOON, World, mint, number, token},
};

const USERS: [&str; 2] = ["/api/stats/system", "/api/stats/performance"];
const OPERATORS: [&str; 2] = ["/admin/stats", "/api/admin/redis/metrics"];
/// Of the kernel, in a second: what it tells programs on every machine.
const TICKS: f64 = 100.0;
const SOCKETS: u64 = 40;
const MESSAGES: u64 = 25;
/// People who look at a dashboard at the same time.
const PEOPLE: usize = 100;

/// A token of `user` with these roles.
pub(crate) fn token_with(user: &str, roles: &[&str]) -> String {
    mint(&json!({"sub": user, "exp": FUTURE, "aud": "mingle", "roles": roles}))
}

/// What an operator reads who has never asked before: operators may ask 20 times a
/// minute, and these ask until something is so.
pub(crate) async fn read(gateway: SocketAddr, path: &str) -> Value {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let operator = format!("operator-{}", ASKED.fetch_add(1, Relaxed));
    get(gateway, path, &token_with(&operator, &["admin"])).await.ok()
}

/// The calls of one name, as an operator reads them.
fn calls<'a>(node: &'a Value, kind: &str, name: &str) -> Option<&'a Value> {
    let mut calls = node["calls"].as_array().unwrap().iter();
    calls.find(|calls| calls["kind"] == kind && calls["name"] == name)
}

/// User and system time of a process in seconds, as the kernel tells it.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field is the name, which may hold anything.
    let after: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = after[11].parse::<f64>().unwrap() + after[12].parse::<f64>().unwrap();
    ticks / TICKS
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_is_for_those_it_is_for_and_of_its_class() {
    let mingle = World::builder().start().await;
    let at = mingle.http_addr();
    let (user, operator) = (token("ann"), token_with("root", &["support", "admin"]));
    for (path, class) in [(USERS, "api"), (OPERATORS, "admin")]
        .into_iter()
        .flat_map(|(paths, class)| paths.map(|path| (path, class)))
    {
        let nobody = get(at, path, "").await;
        assert_eq!(nobody.problem(), (401, "UNAUTHENTICATED", "TOKEN_INVALID", "authorization"));
        let forged = get(at, path, "forged").await;
        assert_eq!(forged.problem().0, 401, "{path}");
        let by_user = get(at, path, &user).await;
        if class == "admin" {
            let denied = (403, "PERMISSION_DENIED", "NOT_ALLOWED", "authorization");
            assert_eq!(by_user.problem(), denied, "{path}");
        } else {
            by_user.ok();
        }
        let by_operator = get(at, path, &operator).await;
        let policy = by_operator.header("ratelimit-policy").to_owned();
        assert!(policy.starts_with(&format!("\"{class}\";")), "{path}: {policy}");
        assert_eq!(by_operator.header("cache-control"), "no-store");
        by_operator.ok();
    }
    let policy = get(at, OPERATORS[0], &operator).await;
    assert_eq!(policy.header("ratelimit-policy"), "\"admin\";q=20;w=60");
    let health = get(at, "/api/health/redis", "").await;
    assert_eq!(health.header("ratelimit-policy"), "", "health is free");
    let health = health.ok();
    assert_eq!((&health["status"], &health["backend"]), (&json!("healthy"), &json!("memory")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_process_is_what_happened_in_it() {
    let world = World::from(World::builder()).await;
    let (mingle, at) = (world.mingle(), world.http());
    let before = open_files(mingle.pid());
    let room = world.room(&["ann", "bob"]).await;
    let mut sockets = Vec::new();
    for number in 0..SOCKETS {
        sockets.push(world.client(&format!("user-{number}"), Encoding::Proto).await);
    }
    let mut ann = world.client("ann", Encoding::Json).await;
    ann.room_join(&room, None).await.unwrap();
    for key in 0..MESSAGES {
        ann.send(&room, &format!("key-{key}"), "words").await.unwrap();
    }
    // The last look may be of a second ago.
    let system = eventually(SOON, "all sockets are counted", async || {
        let system = get(at, USERS[0], &token("bob")).await.ok();
        (number(&system["traffic"]["sockets"]) == SOCKETS + 1).then_some(system)
    });
    let system = system.await;
    assert_eq!((&system["status"], &system["unknown"]), (&json!("ok"), &json!([])), "{system}");
    assert_eq!(number(&system["online"]["users"]), SOCKETS + 1);
    assert_eq!(number(&system["traffic"]["followedRooms"]), 1);
    assert!(system["traffic"]["messagesPerSecond"].as_f64().unwrap() > 0.0, "{system}");
    assert_eq!(system["pools"][0]["pool"], "random-chat");
    let roles = ["gateway", "matchmaking", "chat", "presence", "ratelimit", "cache"];
    for (role, name) in system["roles"].as_array().unwrap().iter().zip(roles) {
        assert_eq!((&role["role"], &role["up"]), (&json!(name), &json!(1)), "{system}");
    }
    assert_figures(mingle, at, before).await;
    drop(sockets);
}

/// Figures of the process, between two readings of the kernel's.
async fn assert_figures(mingle: &Mingle, at: SocketAddr, open_before: usize) {
    let spent = cpu_seconds(mingle.pid());
    let (all, mine) = eventually(SOON, "a look after that", async || {
        let all = read(at, OPERATORS[0]).await;
        let mine = all["performance"]["nodes"][0]["performance"].clone();
        (mine["cpuSeconds"].as_f64().unwrap() >= spent).then_some((all, mine))
    })
    .await;
    let told = mine["cpuSeconds"].as_f64().unwrap();
    // The kernel counts in hundredths.
    assert!(told <= cpu_seconds(mingle.pid()) + 0.01, "{mine}");
    let (resident, told) = (mingle.rss_kib() * 1024, number(&mine["memoryBytes"]));
    assert!(told > resident / 2 && told < resident * 2, "{told} told, {resident} resident");
    let opened = number(&mine["openFiles"]) as usize - open_before;
    let sockets = usize::try_from(SOCKETS).unwrap();
    assert!((sockets..sockets + 40).contains(&opened), "{opened} more files: {mine}");
    let total = &all["performance"]["total"];
    assert_eq!(
        (&total["sockets"], &total["memoryBytes"]),
        (&mine["sockets"], &mine["memoryBytes"])
    );

    let node = &all["nodes"][0];
    assert_eq!((&node["address"], &node["node"]["state"]), (&json!(""), &json!("up")));
    let sends = &calls(node, "rpc", "ChatService/Send").unwrap()["stats"];
    assert_eq!((number(&sends["count"]), number(&sends["failures"])), (MESSAGES, 0), "{node}");
    let quantile = |name: &str| sends[name].as_f64().unwrap();
    assert!(quantile("p50Ms") > 0.0 && quantile("p50Ms") <= quantile("p95Ms"), "{sends}");
    assert!(quantile("p95Ms") <= quantile("p99Ms") && quantile("p99Ms") < 67_200.0, "{sends}");
    let diagnostics = calls(node, "rpc", "DiagnosticsService/Describe");
    assert_eq!(diagnostics, None, "who asks is not what is asked for");
    let database = &node["servers"][0];
    assert_eq!((&database["name"], &database["kind"]), (&json!("database"), &json!("sqlite")));
    assert!(database["roundTripMs"].as_f64().unwrap() > 0.0, "{database}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboard_of_a_hundred_costs_a_round_a_second() {
    let mingle = World::builder().start().await;
    let at = mingle.http_addr();
    // A dashboard's look counts the users, and nothing else here does.
    let rounds = async || counter_of(mingle.probes_addr(), "Count").await;
    let begun = std::time::Instant::now();
    let before = rounds().await;
    let tokens: Vec<_> = (0..PEOPLE).map(|who| token(&format!("viewer-{who}"))).collect();
    for _ in 0..5 {
        let looks = tokens.iter().map(|token| get(at, USERS[1], token));
        for look in join_all(looks).await {
            look.ok();
        }
    }
    let (made, seconds) = (rounds().await - before, begun.elapsed().as_secs());
    eprintln!("{made} rounds for {} answers in {seconds} s", 5 * PEOPLE);
    assert!(made >= 1 && made <= seconds + 2, "{made} rounds in {seconds} s");
}

/// How often a method of presence was called.
async fn counter_of(probes: SocketAddr, method: &str) -> u64 {
    let metrics = get(probes, "/metrics", "").await.text;
    let label = format!("method=\"{method}\"");
    let of_method = metrics.lines().filter(|line| {
        line.starts_with("mingle_rpcs_total{")
            && line.contains("service=\"PresenceService\"")
            && line.contains(&label)
    });
    of_method.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
