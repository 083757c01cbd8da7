//! `/metrics` says of each metric what it is and what it means.

use std::{collections::BTreeMap, fs, path::Path};

use mingle_client::ws::{Encoding, proto::server_frame::Kind};

use crate::{
    http,
    world::{World, event_where},
};

/// Of all roles: those that count something from the first message on.
const COUNTED: [&str; 12] = [
    "process_resident_memory_bytes",
    "mingle_rpcs_total",
    "mingle_degraded",
    "mingle_chat_append_items",
    "mingle_ratelimit_decisions_total",
    "mingle_gateway_sockets",
    "mingle_gateway_refusals_total",
    "mingle_delivery_lag_seconds",
    "mingle_match_wait_seconds",
    "mingle_database_connections",
    "mingle_database_commit_seconds",
    "mingle_lane_waiting",
];

#[tokio::test]
async fn each_metric_has_a_type_and_a_meaning() {
    let world = World::start().await;
    let room = world.room(&["ann", "bob"]).await;
    let mut ann = world.client("ann", Encoding::Json).await;
    ann.room_join(&room, None).await.unwrap();
    ann.send(&room, "key", "words").await.unwrap();
    event_where(&mut ann, |kind| matches!(kind, Kind::Message(_)).then_some(())).await;
    assert!(ann.room_join("nowhere", None).await.is_err());
    let mut bob = world.client("bob", Encoding::Json).await;
    for client in [&mut ann, &mut bob] {
        client.match_join("random-chat", &[("gender", "other")], &[]).await.unwrap();
    }
    event_where(&mut bob, |kind| matches!(kind, Kind::Matched(_)).then_some(())).await;
    let text = http::get(world.mingle().probes_addr(), "/metrics", "").await.text;
    let told = |what: &str| -> BTreeMap<&str, &str> {
        let of = text.lines().filter_map(|line| line.strip_prefix(what)?.trim().split_once(' '));
        of.collect()
    };
    let (types, meanings) = (told("# TYPE "), told("# HELP "));
    for name in COUNTED {
        assert!(types.contains_key(name), "{name}: {text}");
    }
    for name in types.keys() {
        let meaning = meanings.get(name).unwrap_or_else(|| panic!("{name} means nothing"));
        assert!(meaning.trim().len() > 10, "{name}: {meaning:?}");
    }
}

/// Those that a short test does not make count, too.
#[test]
fn each_metric_in_the_sources_is_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut named, mut described) = (Vec::new(), String::new());
    let mut folders = vec![root.join("services"), root.join("gateway/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&entry).unwrap();
                for (at, _) in source.match_indices("\"mingle_") {
                    let name = source[at + 1..].split('"').next().unwrap().to_owned();
                    let before = source[..at].trim_end();
                    if before.ends_with("describe_counter!(")
                        || before.ends_with("describe_gauge!(")
                        || before.ends_with("describe_histogram!(")
                    {
                        described.push_str(&format!(" {name} "));
                    } else if ["counter!(", "gauge!(", "histogram!("]
                        .iter()
                        .any(|made| before.ends_with(made))
                    {
                        named.push(name);
                    }
                }
            }
        }
    }
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(described.contains(&format!(" {name} ")), "{name} is not described");
    }
}
