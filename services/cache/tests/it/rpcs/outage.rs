//! Redis away: what is in memory is served, what is deleted does not come back.

use std::time::Duration;

use mingle_proto::cache::v1::{Applied, FillOutcome, GetRequest, Outcome};
use mingle_testkit::{Redis as Server, eventually};

use super::stage::{Instance, entry, get, several, tagged, text};
use crate::world::SOON;

/// Until no call asks the server.
async fn until_away(one: &Instance) {
    eventually(SOON, "the outage is known", async || {
        // Only calls and heartbeats that fail make it known.
        one.read_through("none").await;
        one.stats("plain").await.degraded
    })
    .await;
}

async fn until_back(instances: &[Instance]) {
    for one in instances {
        eventually(SOON, "it is back", async || {
            !one.get(GetRequest { without_lease: true, ..get("plain", "none") }).await.degraded
        })
        .await;
    }
}

/// Each way to lose it, and what gets it back.
async fn each_way(check: impl AsyncFn(Vec<Instance>, &Server, bool)) {
    for is_killed in [true, false] {
        let (instances, server) = several(2).await;
        check(instances, &server, is_killed).await;
    }
}

async fn lose(server: &Server, is_killed: bool, instances: &[Instance]) {
    if is_killed {
        server.kill()
    } else {
        server.freeze()
    }
    for one in instances {
        until_away(one).await;
    }
}

async fn regain(server: &Server, is_killed: bool, instances: &[Instance]) {
    if is_killed {
        server.restart().await
    } else {
        server.thaw()
    }
    until_back(instances).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_is_served_and_what_is_not_has_one_loader() {
    each_way(async |instances, server, is_killed| {
        let one = &instances[0];
        one.set(entry("a", "1")).await;
        assert_eq!(one.read("a").await, (Outcome::Hit, "1".to_owned()));
        lose(server, is_killed, &instances).await;
        let read = one.get(get("plain", "a")).await;
        assert_eq!((read.outcome(), text(&read), read.degraded), (Outcome::Hit, "1", true));
        assert_eq!(one.read_through("a").await.0, Outcome::Miss, "nobody can vouch for it");
        let load = one.get(get("plain", "b")).await;
        assert_eq!((load.outcome(), load.degraded), (Outcome::MissLoad, true));
        assert_eq!(one.get(get("plain", "b")).await.outcome(), Outcome::MissWait);
        assert_eq!(one.fill("plain", entry("b", "2"), &load).await, FillOutcome::Stored);
        assert_eq!(text(&one.get(get("plain", "b")).await), "2");
        assert!(one.set(entry("c", "3")).await.degraded);
        assert_eq!(text(&one.get(get("plain", "c")).await), "3");
        regain(server, is_killed, &instances).await;
        assert_eq!(one.read_through("b").await.0, Outcome::Miss, "it was of this process alone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_meanwhile_does_not_come_back() {
    each_way(async |instances, server, is_killed| {
        let one = &instances[0];
        for key in ["a", "b", "c", "d"] {
            one.set(tagged(key, "old", &[key])).await;
            assert_eq!(one.read(key).await.0, Outcome::Hit);
        }
        lose(server, is_killed, &instances).await;
        assert_eq!(one.delete("a").await, Applied::Pending);
        assert_eq!(one.invalidate("b").await, Applied::Pending);
        assert!(one.set(tagged("c", "new", &["c"])).await.degraded);
        assert_eq!(one.read("a").await.0, Outcome::Miss);
        assert_eq!(one.read("b").await.0, Outcome::Miss);
        assert_eq!(one.read("c").await, (Outcome::Hit, "new".to_owned()));
        assert_eq!(one.read("d").await, (Outcome::Hit, "old".to_owned()));
        regain(server, is_killed, &instances).await;
        for key in ["a", "b", "c"] {
            let (_, told) = one.read_through(key).await;
            assert_ne!(told, "old", "{key}");
        }
        // The others are told.
        for key in ["a", "b", "c"] {
            eventually(SOON, "it is void there, too", async || {
                instances[1].read(key).await.1 != "old"
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_what_was_voided_before() {
    each_way(async |instances, server, is_killed| {
        let (one, other) = (&instances[0], &instances[1]);
        for (key, tag) in [("a", "x"), ("b", "y"), ("c", "z")] {
            one.set(tagged(key, "old", &[tag])).await;
            assert_eq!(one.read(key).await, (Outcome::Hit, "old".to_owned()));
        }
        assert_eq!(other.invalidate("x").await, Applied::Done);
        // What is heard after it was heard; who reads "a" would learn more of it.
        assert_eq!(other.delete("c").await, Applied::Done);
        eventually(SOON, "that is heard", async || one.read("c").await.0 == Outcome::Miss).await;
        lose(server, is_killed, &instances).await;
        assert_eq!(one.read("a").await.0, Outcome::Miss, "it was in memory, and is void");
        assert_eq!(one.read("b").await, (Outcome::Hit, "old".to_owned()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restored_from_before_is_cold() {
    let (instances, server) = several(2).await;
    let one = &instances[0];
    one.set(tagged("a", "old", &["x"])).await;
    let snapshot = server.snapshot();
    one.delete("a").await;
    one.set(tagged("b", "new", &["x"])).await;
    server.kill();
    for one in &instances {
        until_away(one).await;
    }
    server.restart_from(&snapshot).await;
    until_back(&instances).await;
    for one in &instances {
        assert_eq!(one.read_through("a").await.0, Outcome::Miss);
        assert_eq!(one.read("a").await.0, Outcome::Miss);
    }
    assert!(!one.set(entry("a", "again")).await.degraded);
    assert_eq!(instances[1].read_through("a").await.1, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deletions_meanwhile_are_bounded_and_void_the_namespace() {
    let (instances, server) = several(1).await;
    let one = &instances[0];
    one.set(entry("kept", "old")).await;
    one.set_in("short", entry("other", "old")).await;
    server.freeze();
    until_away(one).await;
    for n in 0..11 {
        let keys = (n * 1_000..(n + 1) * 1_000).map(|n| n.to_string()).collect();
        let request =
            mingle_proto::cache::v1::DeleteManyRequest { namespace: "plain".into(), keys };
        let deleted = one.client.clone().delete_many(request).await.unwrap().into_inner();
        assert_eq!(deleted.applied(), Applied::Pending);
    }
    server.thaw();
    until_back(&instances).await;
    assert_eq!(one.read_through("kept").await.0, Outcome::Miss, "too many to tell apart");
    let read = GetRequest { mode: 1, without_lease: true, ..get("short", "other") };
    assert_eq!(one.get(read).await.outcome(), Outcome::Hit);
    tokio::time::timeout(Duration::from_secs(1), one.stats("plain")).await.unwrap();
}
