//! What a gateway tells of many processes, some of which are dead, frozen or cut off
//! from Redis, and of that Redis beside what it says itself.

use std::net::SocketAddr;

use mingle_client::ws::Encoding;
use mingle_testkit::{Deployment, Fault, To, eventually};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{plan, urls};
use crate::{
    http::get,
    stats::read,
    world::{SOON, greet, number, token},
};

const SYSTEM: &str = "/api/stats/system";
const PERFORMANCE: &str = "/api/stats/performance";
const ADMIN: &str = "/admin/stats";
const REDIS: &str = "/api/admin/redis/metrics";
const HEALTH: &str = "/api/health/redis";
/// Of the default deployment.
const PROCESSES: usize = 9;

async fn system(gateway: SocketAddr) -> Value {
    // A process that hangs holds nobody for longer than a second or so.
    let viewer = token("viewer");
    let answer = get(gateway, SYSTEM, &viewer);
    timeout(SOON / 3, answer).await.expect("an answer in time").ok()
}

/// Waits until the processes are in these states, each with how many there are.
async fn until(gateway: SocketAddr, expected: &[(&str, usize)]) -> Value {
    eventually(SOON, &format!("{expected:?}"), async || {
        let told = system(gateway).await;
        let nodes = told["nodes"].as_array().unwrap();
        let of = |state: &str| nodes.iter().filter(|node| node["state"] == state).count();
        let is_so = expected.iter().all(|(state, count)| of(state) == *count);
        let all: usize = expected.iter().map(|(_, count)| count).sum();
        (is_so && nodes.len() == all).then_some(told)
    })
    .await
}

/// The ids of the processes of a role by where they were asked.
async fn id_at(gateway: SocketAddr, at: SocketAddr) -> String {
    let told = read(gateway, ADMIN).await;
    let nodes = told["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|node| node["address"] == at.to_string());
    let node = node.unwrap_or_else(|| panic!("{at} is not in {told}"));
    node["node"]["nodeId"].as_str().unwrap().to_owned()
}

fn in_state<'a>(told: &'a Value, state: &str) -> Vec<&'a str> {
    let nodes = told["nodes"].as_array().unwrap().iter();
    nodes.filter(|node| node["state"] == state).map(|it| it["nodeId"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_dead_or_frozen_are_named_and_hold_nobody() {
    let mut deployment = plan().start().await;
    let gateway = deployment.gateways()[0];
    let told = until(gateway, &[("up", PROCESSES)]).await;
    let roles: Vec<_> = told["roles"].as_array().unwrap().iter().map(|it| &it["up"]).collect();
    assert_eq!(roles, [2, 2, 2, 1, 1, 1], "{told}");
    let text = told.to_string() + &get(gateway, PERFORMANCE, &token("viewer")).await.text;
    assert!(!text.contains("127.0.0.1"), "an address: {text}");

    let (chat, matchmaking) = (deployment.grpc("chat")[1], deployment.grpc("matchmaking")[1]);
    let other = deployment.grpc("gateway")[1];
    let dead = [id_at(gateway, chat).await, id_at(gateway, other).await];
    let frozen = id_at(gateway, matchmaking).await;
    deployment.kill9("chat", 1);
    deployment.kill9("gateway", 1);
    deployment.process("matchmaking", 1).freeze();
    let told = until(gateway, &[("up", PROCESSES - 3), ("unreachable", 2), ("silent", 1)]).await;
    let mut unreachable = in_state(&told, "unreachable");
    unreachable.sort_unstable();
    let mut expected: Vec<_> = dead.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(unreachable, expected, "{told}");
    assert_eq!(in_state(&told, "silent"), [frozen.as_str()], "{told}");
    let missing: Vec<_> =
        told["roles"].as_array().unwrap().iter().map(|it| &it["missing"]).collect();
    assert_eq!(missing, [1, 1, 1, 0, 0, 0], "{told}");
    let performance = get(gateway, PERFORMANCE, &token("viewer")).await.ok();
    for node in performance["nodes"].as_array().unwrap() {
        let is_up = node["node"]["state"] == "up";
        assert_eq!(node["performance"].is_object(), is_up, "{node}");
    }

    deployment.process("matchmaking", 1).thaw();
    deployment.start().await;
    let told = until(gateway, &[("up", PROCESSES)]).await;
    assert!(in_state(&told, "up").contains(&frozen.as_str()), "the same: {told}");
    assert!(!in_state(&told, "up").contains(&dead[0].as_str()), "another: {told}");
}

/// What a number of INFO is now.
fn info(deployment: &Deployment, name: &str) -> u64 {
    let said = deployment.redis().cli(&["INFO"]);
    let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap().trim().parse().unwrap()
}

/// Reads until what is told was found out after `least` was reached; then it is at
/// most what is so now.
async fn assert_between(deployment: &Deployment, name: &str, told: impl Fn(&Value) -> u64) {
    let least = info(deployment, name);
    let found = eventually(SOON, name, async || {
        let found = told(&read(deployment.gateways()[1], REDIS).await);
        (found >= least).then_some(found)
    })
    .await;
    assert!(found <= info(deployment, name), "{name}: {found}, {least} before");
}

async fn health(gateway: SocketAddr, status: u16, of: &str) -> Value {
    eventually(SOON, &format!("Redis to be {of}"), async || {
        let answer = get(gateway, HEALTH, "").await;
        let is_so = answer.status.as_u16() == status && answer.body["status"] == of;
        is_so.then_some(answer.body)
    })
    .await
}

/// Name and state of alerts.
fn states(alerts: &Value) -> Vec<(&str, &str)> {
    let alerts = alerts.as_array().unwrap().iter();
    alerts.map(|it| (it["name"].as_str().unwrap(), it["state"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_told_as_it_is_and_for_whom_it_is_away() {
    let deployment = plan().ways().start().await;
    let gateways = deployment.gateways();
    let mut ann = greet(&urls(&deployment)[0], "ann", Encoding::Json, None).await.unwrap();
    let of = [("gender", "female")];
    ann.match_join("random-chat", &of, &[("gender", &["male"])]).await.unwrap();
    assert_joined_once(gateways[0]).await;
    let told = health(gateways[0], 200, "healthy").await;
    let roles: Vec<_> = told["roles"].as_array().unwrap().iter().collect();
    let working: Vec<_> = roles.iter().map(|role| (&role["role"], &role["working"])).collect();
    let expected =
        [("matchmaking", 2), ("chat", 2), ("presence", 1), ("ratelimit", 1), ("cache", 1)];
    let expected = expected.map(|(role, working)| (json!(role), json!(working)));
    assert!(working.iter().copied().eq(expected.iter().map(|(a, b)| (a, b))), "{told}");
    assert!(told["latencyMs"].as_f64().unwrap() > 0.0, "{told}");

    assert_beside_info(&deployment).await;

    // For one process alone.
    deployment.way("chat", 0, To::Redis).set(Fault::Cut);
    let told = health(gateways[0], 200, "degraded").await;
    let chat =
        told["roles"].as_array().unwrap().iter().find(|role| role["role"] == "chat").unwrap();
    assert_eq!((&chat["working"], &chat["failing"]), (&json!(1), &json!(1)), "{told}");
    deployment.way("chat", 0, To::Redis).set(Fault::None);
    health(gateways[0], 200, "healthy").await;

    deployment.redis().freeze();
    let told = health(gateways[1], 503, "unavailable").await;
    assert_eq!(told.get("latencyMs").filter(|it| !it.is_null()), None, "{told}");
    let metrics = read(gateways[1], REDIS).await;
    assert_eq!(metrics["status"], "unavailable", "{metrics}");
    assert_eq!(metrics["servers"], json!([]), "{metrics}");
    assert_eq!(states(&metrics["alerts"]), [("latencyP99", "warn"), ("errors", "warn")]);
    let nodes = metrics["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), PROCESSES - 2, "{metrics}");
    assert!(nodes.iter().all(|node| node["failure"] != ""), "{metrics}");
    deployment.redis().thaw();
    health(gateways[1], 200, "healthy").await;
}

/// What a gateway tells, and what `redis-cli` reads.
async fn assert_beside_info(deployment: &Deployment) {
    let metrics = read(deployment.gateways()[1], REDIS).await;
    let servers = metrics["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 1, "{metrics}");
    let server = &servers[0];
    let said = deployment.redis().cli(&["INFO"]);
    for line in [
        format!("run_id:{}", server["runId"].as_str().unwrap()),
        format!("redis_version:{}", server["version"].as_str().unwrap()),
        format!("role:{}", server["role"].as_str().unwrap()),
        format!("maxmemory_policy:{}", server["memory"]["maxMemoryPolicy"].as_str().unwrap()),
        format!("maxclients:{}", number(&server["clients"]["max"])),
    ] {
        assert!(said.lines().any(|found| found.trim() == line), "{line}: {said}");
    }
    for (name, path) in [
        ("keyspace_hits", "/keyspaceHits"),
        ("keyspace_misses", "/keyspaceMisses"),
        ("total_commands_processed", "/commands"),
        ("uptime_in_seconds", "/uptimeSeconds"),
        ("used_memory_peak", "/memory/peakBytes"),
    ] {
        let told = |metrics: &Value| number(metrics["servers"][0].pointer(path).unwrap());
        assert_between(deployment, name, told).await;
    }
    let (hits, misses) = (number(&server["keyspaceHits"]), number(&server["keyspaceMisses"]));
    let rate = server["hitRate"].as_f64().unwrap();
    assert!((rate - 100.0 * hits as f64 / (hits + misses) as f64).abs() < 0.01, "{server}");
    let is_well = if rate > 70.0 { "ok" } else { "unknown" };
    assert_eq!(states(&server["alerts"]), [("hitRate", is_well), ("memory", "unknown")]);
    assert_eq!(server["alerts"][1]["why"], "maxmemory is not set");

    // With a bound below 100/85 of what is used.
    let bound = (info(deployment, "used_memory") * 110 / 100).to_string();
    assert_eq!(deployment.redis().cli(&["CONFIG", "SET", "maxmemory", &bound]), "OK");
    eventually(SOON, "memory to be short", async || {
        let metrics = read(deployment.gateways()[1], REDIS).await;
        let alert = &metrics["servers"][0]["alerts"][1];
        (alert["state"] == "warn" && alert["value"].as_f64().unwrap() >= 85.0).then_some(())
    })
    .await;
    assert_eq!(deployment.redis().cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    // Whatever a busy machine makes of them.
    for (alert, name) in metrics["alerts"].as_array().unwrap().iter().zip(["latencyP99", "errors"])
    {
        let number = |key: &str| alert[key].as_f64().unwrap();
        let state = if number("value") < number("threshold") { "ok" } else { "warn" };
        assert_eq!((&alert["name"], &alert["state"]), (&json!(name), &json!(state)), "{metrics}");
    }
    assert_eq!(metrics["alerts"][0]["value"], metrics["calls"]["p99Ms"]);
    assert!(number(&metrics["calls"]["count"]) > 0, "{metrics}");
}

/// The one join of the test, as the scripts of Redis are counted. Two minutes later
/// it is forgotten.
async fn assert_joined_once(gateway: SocketAddr) {
    let enqueued = eventually(SOON, "the join to be counted", async || {
        let told = read(gateway, ADMIN).await;
        let nodes = told["nodes"].as_array().unwrap().iter();
        let mut calls = nodes.flat_map(|node| node["calls"].as_array().unwrap());
        calls.find(|calls| calls["name"] == "enqueue").cloned()
    })
    .await;
    assert_eq!((&enqueued["kind"], &enqueued["stats"]["count"]), (&json!("redis"), &json!("1")));
}
