//! One loader, whoever asks.

use futures::future::join_all;
use mingle_proto::cache::v1::{FillOutcome, GetRequest, Outcome};
use mingle_testkit::eventually;
use tokio::sync::mpsc;

use super::stage::{Instance, alone, entry, get, several, text};
use crate::world::SOON;

fn waiting(namespace: &str, key: &str) -> GetRequest {
    GetRequest { wait_ms: 20_000, ..get(namespace, key) }
}

/// All ask for a cold key; who is given the lease fills when others wait.
async fn crowd(instances: Vec<Instance>) {
    const CALLERS: usize = 600;
    let (loaders, mut leased) = mpsc::unbounded_channel();
    let asking = (0..CALLERS).map(|n| {
        let (one, loaders) = (instances[n % instances.len()].clone(), loaders.clone());
        tokio::spawn(async move {
            let mut read = one.get(waiting("plain", "cold")).await;
            if read.outcome() == Outcome::MissLoad {
                loaders.send(read).unwrap();
                read = one.get(waiting("plain", "cold")).await;
            }
            assert_eq!(read.outcome(), Outcome::Hit);
            text(&read).to_owned()
        })
    });
    let asking: Vec<_> = asking.collect();
    drop(loaders);
    let load = leased.recv().await.unwrap();
    for one in &instances {
        eventually(SOON, "others wait", async || one.stats("plain").await.waits > 0).await;
    }
    let stored = instances[0].fill("plain", entry("cold", "one"), &load).await;
    assert_eq!(stored, FillOutcome::Stored);
    for told in join_all(asking).await {
        assert_eq!(told.unwrap(), "one");
    }
    assert!(leased.recv().await.is_none(), "a second loader");
    for one in &instances {
        assert_eq!(one.get(get("plain", "cold")).await.outcome(), Outcome::Hit);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_loaded_again() {
    let (instances, server) = several(2).await;
    let (one, other) = (&instances[0], &instances[1]);
    one.set(entry("a", "whole")).await;
    // As if another version of this program had stored it.
    let longer = server.cli(&["APPEND", "mingle:{c:plain:a}:1:e", "more"]);
    assert!(longer.parse::<usize>().unwrap() > 50, "{longer}");
    let read = other.get(get("plain", "a")).await;
    assert_eq!((read.outcome(), text(&read)), (Outcome::MissLoad, "nothing"));
    assert_eq!(other.fill("plain", entry("a", "again"), &read).await, FillOutcome::Stored);
    assert_eq!(one.read_through("a").await, (Outcome::Hit, "again".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_key_is_loaded_once_in_memory() {
    crowd(vec![alone().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_key_is_loaded_once_by_three_processes() {
    let (instances, _server) = several(3).await;
    crowd(instances).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_given_the_lease_of_a_dead_loader() {
    let (instances, _server) = several(2).await;
    let dead = instances[0].get(get("short", "a")).await;
    assert_eq!(dead.outcome(), Outcome::MissLoad);
    assert!(dead.lease.as_ref().unwrap().expires_after_ms <= 300);
    let told = instances[1].get(get("short", "a")).await;
    assert_eq!(told.outcome(), Outcome::MissWait);
    assert!((1..=300).contains(&told.retry_after_ms), "{told:?}");
    let next = instances[1].get(waiting("short", "a")).await;
    assert_eq!(next.outcome(), Outcome::MissLoad);
    assert_eq!(instances[0].fill("short", entry("a", "old"), &dead).await, FillOutcome::Rejected);
    assert_eq!(instances[0].fill("short", entry("a", "new"), &next).await, FillOutcome::Stored);
    assert_eq!(text(&instances[1].get(get("short", "a")).await), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_nobody_is_told_when_to_ask_again() {
    let one = alone().await;
    one.get(get("plain", "a")).await;
    let read = one.get(GetRequest { wait_ms: 100, ..get("plain", "a") }).await;
    assert_eq!(read.outcome(), Outcome::MissWait);
    assert!((1..=5_000).contains(&read.retry_after_ms), "{read:?}");
    let looked = one.get(GetRequest { without_lease: true, ..get("plain", "b") }).await;
    assert_eq!(looked.outcome(), Outcome::Miss);
    assert_eq!(one.get(get("plain", "b")).await.outcome(), Outcome::MissLoad, "it took none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stale_is_served_while_one_loads_and_when_nobody_can() {
    let (instances, _server) = several(2).await;
    let [one, other] = &instances[..] else { unreachable!() };
    one.set_in("brief", entry("a", "old")).await;
    assert_eq!(text(&other.get(get("brief", "a")).await), "old");
    let load = eventually(SOON, "it is stale", async || {
        let read = other.get(get("brief", "a")).await;
        (read.outcome() == Outcome::StaleLoad).then_some(read)
    });
    let load = load.await;
    assert_eq!(text(&load), "old");
    let beside = one.get(get("brief", "a")).await;
    assert_eq!((beside.outcome(), text(&beside)), (Outcome::Stale, "old"));
    assert_eq!(other.fail("brief", "a", &load).await, FillOutcome::Rearmed);
    let served = one.get(GetRequest { mode: 1, ..get("brief", "a") }).await;
    assert_eq!(text(&served), "old", "served on");
    let load = eventually(SOON, "it is tried again", async || {
        let read = one.get(get("brief", "a")).await;
        (read.outcome() == Outcome::StaleLoad).then_some(read)
    });
    assert_eq!(one.fill("brief", entry("a", "new"), &load.await).await, FillOutcome::Stored);
    let read = other.get(GetRequest { mode: 1, ..get("brief", "a") }).await;
    assert_eq!(text(&read), "new");
    assert_eq!(other.stats("brief").await.failed_loads, 1);
}
