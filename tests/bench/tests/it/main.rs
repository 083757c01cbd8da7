//! The measurements that need servers, small: that they run, and what they
//! tell. No figure is judged.

use std::process::Command;

use mingle_testkit::binary;
use serde_json::Value;

/// What `mingle-bench` tells of one round.
fn measure(arguments: &[&str]) -> Value {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_mingle-bench"));
    bench.arg("--binary").arg(binary()).args(["--json", "--rounds", "1"]).args(arguments);
    let done = match bench.output() {
        Ok(done) => done,
        Err(error) => panic!("{bench:?}: {error}"),
    };
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{bench:?}: {}: {errors}", done.status);
    match serde_json::from_slice(&done.stdout) {
        Ok(report) => report,
        Err(error) => panic!("{bench:?} tells no JSON: {error}"),
    }
}

/// The one value of a figure on a side.
fn value(report: &Value, name: &str, side: &str) -> f64 {
    let mut figures = report["figures"].as_array().into_iter().flatten();
    let figure = figures.find(|figure| figure["name"] == name);
    match figure.and_then(|figure| figure[side]["rounds"].as_array()).map(Vec::as_slice) {
        Some([value]) => value.as_f64().unwrap_or_else(|| panic!("{name} of {side} is {value}")),
        _ => panic!("not one {name} of {side} in {report:#}"),
    }
}

fn assert_both(report: &Value, names: &[&str]) {
    for name in names {
        assert!(value(report, name, "mingle") >= 0.0, "{name}");
        assert!(value(report, name, "floor") >= 0.0, "{name}");
    }
}

#[test]
fn messages_over_processes_are_told_by_role_and_beside_each_hop() {
    let report =
        measure(&["chat", "--processes", "--rate", "50", "--seconds", "1", "--pairs", "4"]);
    let processes =
        "cache, chat, chat, gateway, gateway, matchmaking, matchmaking, presence, ratelimit";
    assert_eq!(report["settings"]["processes"], processes);
    assert_both(
        &report,
        &[
            "server CPU per message",
            "server CPU per message, gateway",
            "server CPU per message, chat",
            "server CPU per message, ratelimit",
            "server CPU per message, redis-server",
            "server CPU per message, postgres",
            "send to sent, p50",
            "send to the other's message, p99",
        ],
    );
    value(&report, "server CPU per message, presence", "mingle");
    value(&report, "bare WebSocket: send to the other, p50", "floor");
    value(&report, "bare tonic: call, p50", "floor");
}

#[test]
fn decisions_are_told_beside_a_bare_call() {
    let report = measure(&["ratelimit", "--seconds", "1", "--callers", "8"]);
    for (kind, most) in [
        ("cold check", 1.1),
        // It is remembered.
        ("check of one denied subject", 0.1),
        ("check in a batch of 64", 1.1),
    ] {
        let (cpu, rate) = (format!("{kind}: server CPU each"), format!("{kind}: decisions"));
        assert_both(&report, &[&cpu, &rate]);
        let scripts = value(&report, &format!("{kind}: scripts on Redis each"), "mingle");
        assert!((most - 0.2..most).contains(&scripts), "{kind}: {scripts}");
    }
    let scripts = value(&report, "cold check: server CPU each, of a bare script", "floor");
    assert!(scripts > 0.0, "{scripts}");
}

#[test]
fn reads_of_the_cache_are_told_beside_a_bare_call_and_its_memory_beside_the_best() {
    let small = ["--seconds", "1", "--callers", "8", "--tagged", "2000", "--keys", "2000"];
    let few = ["--changes", "100", "--memory", "4"];
    let report = measure(&[&["cache"], &small[..], &few[..]].concat());
    for kind in ["Get from memory", "Get from Redis", "GetMany of 100 from memory"] {
        let (cpu, rate) = (format!("{kind}: server CPU each"), format!("{kind}: keys"));
        assert_both(&report, &[&cpu, &rate]);
    }
    let kept = value(&report, "JSON of 100000 bytes is kept as", "mingle");
    assert!((1.0..100_000.0).contains(&kept), "{kept}");
    let best = value(&report, "Zipf of 2000 keys, optimal LFU of 100: hits", "floor");
    assert!((50.0..90.0).contains(&best), "{best}");
}

#[test]
fn pages_of_rooms_are_told_from_chat_and_from_the_cache() {
    let report = measure(&["cache-history", "--seconds", "1", "--callers", "4", "--rooms", "3"]);
    for from in ["chat", "cache"] {
        let name = format!("a page from {from}: server CPU each");
        assert_both(&report, &[&name]);
    }
}

#[test]
fn those_who_join_over_processes_meet_on_different_gateways() {
    // A match within one gateway is a failure of the measurement.
    let report = measure(&["match", "--processes", "--rate", "20", "--seconds", "1"]);
    assert_both(
        &report,
        &[
            "server CPU per join",
            "server CPU per join, matchmaking",
            "the pair's later join to matched, both sides, p50",
        ],
    );
}

#[test]
fn durable_sends_on_postgresql_are_told_for_both_ways() {
    let small = ["--senders", "8", "--rooms", "4", "--seconds", "1"];
    let report = measure(&[&["sends", "--processes"], &small[..]].concat());
    for way in ["grouped", "one by one"] {
        let figures = ["throughput", "postgres CPU each"].map(|what| format!("{way}: {what}"));
        assert_both(&report, &figures.each_ref().map(String::as_str));
    }
}

#[test]
fn those_who_read_are_told_with_and_without_those_who_do_not() {
    let small = ["--readers", "4", "--stalled", "2", "--rate", "20", "--seconds", "1"];
    let report = measure(&[&["slow"], &small[..]].concat());
    assert_both(&report, &["send to a reader's message, p99", "server CPU per delivery"]);
    value(&report, "sockets that were ended", "mingle");
}

#[test]
fn what_is_said_in_rooms_is_heard_by_all_in_one_order() {
    let report = measure(&["rooms", "--rooms", "3", "--members", "5", "--seconds", "2"]);
    assert_both(&report, &["deliveries", "send to a member, p99", "resident memory per socket"]);
    assert!(value(&report, "acknowledged", "mingle") > 0.0);
    assert!(value(&report, "acknowledged", "floor") > 0.0);
    for wrong in [
        "said and never answered",
        "acknowledged and not heard by a member",
        "heard twice",
        "heard after a later one of its sender",
        "rooms whose members heard several orders",
        "sockets that were ended",
    ] {
        assert_eq!(value(&report, wrong, "mingle"), 0.0, "{wrong}");
    }
}

#[test]
fn the_slots_stand_beside_a_bare_connection() {
    let report = measure(&["pool", "--callers", "2", "--millis", "100"]);
    assert_both(&report, &["throughput", "latency, p50"]);
    assert!(value(&report, "throughput", "mingle") > 0.0);
}

#[test]
fn two_of_three_servers_serve_while_the_third_is_frozen() {
    let report = measure(&["shards", "--callers", "2", "--millis", "200"]);
    assert_both(&report, &["throughput", "latency, p99"]);
    assert!(value(&report, "throughput", "mingle") > 0.0);
}

#[test]
fn strangers_come_meet_talk_and_go() {
    let report = measure(&["main", "--rate", "20", "--seconds", "1", "--words", "3"]);
    assert_both(
        &report,
        &[
            "server CPU per conversation",
            "arrival to welcome, p50",
            "send to the other's message, p99",
        ],
    );
    value(&report, "join to matched and in the room, both sides, p50", "mingle");
    value(&report, "server CPU per conversation, matchmaking", "mingle");
}
