//! What is deleted does not come back by an election, although the server that is elected
//! never heard of it; and clocks that are apart change nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use mingle_proto::cache::v1::{Applied, Entry, FillOutcome, GetRequest, Outcome, ReadMode};
use mingle_testkit::{Redis, Sentinels, eventually};
use tokio::task::JoinSet;

use super::{Caches, Client, LASTING, PATIENT, entry, found, get, pass, text};
use crate::world::SOON;

const KEYS: usize = 60;
const TAG: &str = "all";

fn key(number: usize) -> String {
    format!("elected-{number}")
}

/// Values of these on this server.
fn there(server: &Redis) -> usize {
    server.cli(&["--scan", "--pattern", "mingle:{c:lasting:elected-*}:1:e"]).lines().count()
}

/// Reads each again and again until the end, and is never served one; how often.
async fn read(client: Client, end: Arc<AtomicBool>) -> (usize, usize) {
    let (mut reads, mut degraded) = (0, 0);
    while !end.load(SeqCst) {
        for number in 0..KEYS {
            let read = client.look(&key(number), ReadMode::ReadThrough).await;
            assert_eq!(found(&read), (Outcome::Miss, None), "{number} is back");
            degraded += usize::from(read.degraded);
            reads += 1;
        }
    }
    (reads, degraded)
}

async fn store(clients: &[Client], text: &str) {
    for number in 0..KEYS {
        let tags = vec![TAG.to_owned()];
        assert!(clients[number % 3].set(Entry { tags, ..entry(&key(number), text) }).await);
    }
}

/// Deletes by one call each, by one of several, or all that carry a tag.
async fn delete(clients: &[Client], by_tag: bool) {
    if by_tag {
        assert_eq!(clients[0].invalidate(TAG).await, Applied::Done);
        return;
    }
    for number in 0..KEYS {
        assert_eq!(clients[number % 3].delete(&key(number)).await, Applied::Done);
    }
}

/// Waits until each process writes there.
async fn until_gone_over(clients: &[Client], elected: &Redis) {
    for (nth, client) in clients.iter().enumerate() {
        eventually(SOON, "each has gone over", async || {
            let at = format!("gone-over-{nth}");
            client.set(entry(&at, "1")).await
                && elected.cli(&["EXISTS", &format!("mingle:{{c:lasting:{at}}}:1:e")]) == "1"
        })
        .await;
    }
}

async fn elect(by_tag: bool) {
    let servers = Sentinels::start().await;
    let caches = Caches::start(&servers.url(), "250").await;
    let clients = caches.clients().await;
    store(&clients, "old").await;
    let first = servers.primary().unwrap();
    eventually(SOON, "the values are everywhere", async || {
        servers.servers().iter().all(|server| there(server) == KEYS)
    })
    .await;
    servers.cut_off(first);
    delete(&clients, by_tag).await;
    let end = Arc::new(AtomicBool::new(false));
    let reading: JoinSet<_> =
        clients.iter().map(|client| read(client.clone(), end.clone())).collect();
    eventually(SOON, "another is elected", async || {
        servers.primary().is_some_and(|primary| primary.port() != first.port())
    })
    .await;
    let elected = servers.primary().unwrap();
    assert_eq!(there(elected), KEYS, "who is elected has them");
    until_gone_over(&clients, elected).await;
    pass(Duration::from_secs(2)).await;
    end.store(true, SeqCst);
    let (reads, degraded) =
        reading.join_all().await.into_iter().fold((0, 0), |all, of| (all.0 + of.0, all.1 + of.1));
    eprintln!("{reads} reads, {degraded} of them degraded; none of a value that was deleted");
    assert!(reads - degraded > 10 * KEYS, "{reads} {degraded}");
    store(&clients, "new").await;
    for (number, client) in (0..KEYS).flat_map(|number| clients.iter().map(move |it| (number, it)))
    {
        let read = client.look(&key(number), ReadMode::ReadThrough).await;
        assert_eq!(found(&read), (Outcome::Hit, Some("new")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_does_not_come_back_by_an_election() {
    elect(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_what_was_voided_by_its_tag() {
    elect(true).await;
}

/// Values end, and tags void, by the server's time alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_apart_change_nothing() {
    let redis = Redis::start().await;
    let mut caches = Caches::start_ahead_by([-10, 0, 10], &redis.url(), PATIENT).await;
    let clients = caches.clients().await;
    for round in 0..30 {
        let (writer, voider) = (&clients[round % 3], &clients[(round + 1) % 3]);
        let text = round.to_string();
        let short =
            Entry { soft_ttl_ms: Some(5_000), tags: vec![TAG.to_owned()], ..entry("a", &text) };
        assert!(writer.set(short).await);
        for client in &clients {
            for mode in [ReadMode::ReadThrough, ReadMode::Unspecified] {
                let read = client.look("a", mode).await;
                assert_eq!(found(&read), (Outcome::Hit, Some(&*text)), "fresh for five seconds");
            }
        }
        assert_eq!(voider.invalidate(TAG).await, Applied::Done);
        for client in &clients {
            let read = client.look("a", ReadMode::ReadThrough).await;
            assert_eq!(found(&read), (Outcome::Miss, None), "voided");
        }
    }
    for process in &mut caches.processes {
        process.sigterm(SOON).await;
    }
}

/// Where values are loaded from: by key, how often it was changed.
type Source = [AtomicUsize; KEYS];

/// Changes and voids them in turn until the end.
async fn change(client: Client, source: Arc<Source>, end: Arc<AtomicBool>) -> usize {
    let mut done = 0;
    for number in (0..KEYS).cycle() {
        if end.load(SeqCst) {
            break;
        }
        source[number].fetch_add(1, SeqCst);
        done += usize::from(client.delete(&key(number)).await == Applied::Done);
    }
    done
}

/// Loads what is not there until the end.
async fn load(client: Client, source: Arc<Source>, end: Arc<AtomicBool>) -> usize {
    let mut filled = 0;
    while !end.load(SeqCst) {
        let number = rand::random_range(0..KEYS);
        let mode = ReadMode::ReadThrough.into();
        let read = client.get(GetRequest { mode, ..get(LASTING, &key(number)) }).await;
        if let Some(lease) = read.lease {
            let value = source[number].load(SeqCst).to_string();
            let entry = entry(&key(number), &value);
            filled += usize::from(client.fill(LASTING, entry, lease).await == FillOutcome::Stored);
        }
    }
    filled
}

/// Some delete where the others no longer are, and these fill meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_old_is_left_of_what_was_deleted_while_the_processes_went_over() {
    let servers = Sentinels::start().await;
    let caches = Caches::start(&servers.url(), "250").await;
    let clients = caches.clients().await;
    let source: Arc<Source> = Arc::new(std::array::from_fn(|_| AtomicUsize::new(0)));
    let (end, first) = (Arc::new(AtomicBool::new(false)), servers.primary().unwrap());
    let with = || (source.clone(), end.clone());
    let mut changing = JoinSet::new();
    let mut loading = JoinSet::new();
    for client in &clients {
        let ((source, end), client) = (with(), client.clone());
        changing.spawn(change(client.clone(), source.clone(), end.clone()));
        loading.spawn(load(client.clone(), source.clone(), end.clone()));
        loading.spawn(load(client, source, end));
    }
    servers.cut_off(first);
    eventually(SOON, "another is elected", async || {
        servers.primary().is_some_and(|primary| primary.port() != first.port())
    })
    .await;
    let elected = servers.primary().unwrap();
    until_gone_over(&clients, elected).await;
    end.store(true, SeqCst);
    let changed: usize = changing.join_all().await.into_iter().sum();
    let filled: usize = loading.join_all().await.into_iter().sum();
    pass(Duration::from_secs(2)).await;
    let mut left = 0;
    for number in 0..KEYS {
        let is = source[number].load(SeqCst).to_string();
        let read = clients[number % 3].look(&key(number), ReadMode::ReadThrough).await;
        left += usize::from(read.value.is_some());
        assert!(text(&read).is_none_or(|text| text == is), "{number}: {:?} of {is}", text(&read));
    }
    eprintln!("{changed} changes, {filled} filled, {left} values are left");
    assert!(changed.min(filled) > KEYS, "{changed} {filled}");
}
