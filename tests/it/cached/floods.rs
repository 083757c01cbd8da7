//! Deletions that arrive by the hundred thousand while Redis stands still: what is kept
//! of them is bounded, and none is forgotten.

use std::time::{Duration, Instant};

use mingle_proto::cache::v1::{Applied, DeleteManyRequest, Outcome, ReadMode};
use mingle_testkit::{Redis, eventually};
use tokio::time::{MissedTickBehavior, interval};

use super::{Caches, Client, LASTING, entry, found, time};
use crate::world::SOON;

/// Keys of one call.
const MANY: usize = 1_000;
/// Calls in a second.
const CALLS: u32 = 100;
/// Values that are there before, and are among what is deleted.
const THERE: usize = 200;
/// What a process may grow by, of which its share of a namespace's memory is the least.
const GROWTH_KIB: u64 = 96 * 1024;

fn key(number: usize) -> String {
    format!("of-the-flood-{number}")
}

/// Deletes for so long, `CALLS` times in a second, each time other keys; how many.
async fn flood(client: &Client, time: Duration) -> usize {
    let (begin, mut deleted) = (Instant::now(), 0);
    let mut pace = interval(Duration::from_secs(1) / CALLS);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while begin.elapsed() < time {
        pace.tick().await;
        let keys = (deleted..deleted + MANY).map(key).collect();
        let request = DeleteManyRequest { namespace: LASTING.to_owned(), keys };
        let done = client.0.clone().delete_many(request).await.unwrap().into_inner();
        assert_eq!(done.applied(), Applied::Pending);
        deleted += MANY;
    }
    deleted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pending_is_bounded_and_done() {
    let redis = Redis::start().await;
    let caches = Caches::start(&redis.url(), "250").await;
    let clients = caches.clients().await;
    for number in 0..THERE {
        assert!(clients[1].set(entry(&key(number), "old")).await);
        for client in &clients {
            let read = client.look(&key(number), ReadMode::Unspecified).await;
            assert_eq!(found(&read), (Outcome::Hit, Some("old")));
        }
    }
    redis.freeze();
    eventually(SOON, "the outage is known", async || {
        clients[0].look("none", ReadMode::ReadThrough).await;
        !clients[0].set(entry("none", "")).await
    })
    .await;
    let before = caches.processes[0].rss_kib();
    let (time, begin) = (time(4, 30), Instant::now());
    let deleted = flood(&clients[0], time).await;
    let rate = deleted as f64 / begin.elapsed().as_secs_f64();
    let growth = caches.processes[0].peak_kib() - before;
    eprintln!("{deleted} deleted, {rate:.0}/s; grown by {growth} KiB");
    assert!(deleted > 20_000, "{deleted}");
    assert!(growth < GROWTH_KIB, "grown by {growth} KiB");
    for number in 0..THERE {
        let read = clients[0].look(&key(number), ReadMode::Unspecified).await;
        assert_eq!(found(&read), (Outcome::Miss, None), "deleted here");
    }
    redis.thaw();
    for client in &clients {
        until_gone(client).await;
    }
    // From here on for good.
    for number in 0..THERE {
        for client in &clients {
            for mode in [ReadMode::Unspecified, ReadMode::ReadThrough] {
                let read = client.look(&key(number), mode).await;
                assert_eq!(found(&read), (Outcome::Miss, None), "{number}");
            }
        }
    }
}

/// Waits until what was pending is done, also for who did not know of it.
async fn until_gone(client: &Client) {
    eventually(SOON, "the deletions are made", async || {
        let mut gone = true;
        for number in 0..THERE {
            let read = client.look(&key(number), ReadMode::Unspecified).await;
            gone &= !read.degraded && found(&read) == (Outcome::Miss, None);
        }
        gone
    })
    .await;
}
