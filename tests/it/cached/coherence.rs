//! What is replaced, deleted or voided by one process is served by no other for longer
//! than is promised, also by one that was frozen meanwhile or hears nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use mingle_proto::cache::v1::{Applied, Entry, Outcome, ReadMode};
use mingle_testkit::Redis;
use tokio::task::JoinSet;

use super::{Caches, Client, PATIENT, entry, is_soak, pass, text};

/// From the acknowledgement to the last read that may begin and be served the old value.
const BOUND: Duration = Duration::from_millis(1_200);
const WRITERS: usize = 16;

/// Numbers that grow are written by one process and read by others until they are there.
#[derive(Default)]
struct Seen {
    rounds: AtomicU64,
    /// Reads that were served an old one after it was acknowledged.
    old: AtomicU64,
    /// The longest time after that, in microseconds.
    longest_us: AtomicU64,
    /// Of all reads.
    near: AtomicU64,
    through: AtomicU64,
}

impl Seen {
    fn tell(&self) -> (u64, u64) {
        let (rounds, old) = (self.rounds.load(SeqCst), self.old.load(SeqCst));
        let longest = self.longest_us.load(SeqCst) as f64 / 1e3;
        let (near, through) = (self.near.load(SeqCst), self.through.load(SeqCst));
        eprintln!(
            "{rounds} changes; {old} old reads, the last {longest} ms late; {near} of memory, {through} read through"
        );
        (rounds, old)
    }
}

/// Changes a key of its own so often, by each way in turn.
async fn change(who: usize, rounds: usize, clients: Vec<Client>, seen: Arc<Seen>) {
    let key = format!("of-{who}");
    for round in 1..=rounds {
        let (from, to) = (round % 3, (round + 1 + who % 2) % 3);
        let number = round.to_string();
        // It has in its memory what is there now.
        clients[to].look(&key, ReadMode::Unspecified).await;
        let tagged = Entry { tags: vec![key.clone()], ..entry(&key, &number) };
        assert!(clients[from].set(tagged).await);
        let set = Instant::now();
        read_until(&clients[to], &key, Some(&number), set, &seen).await;
        match rand::random_range(0..8) {
            0 => assert_eq!(clients[from].delete(&key).await, Applied::Done),
            1 => assert_eq!(clients[from].invalidate(&key).await, Applied::Done),
            _ => continue,
        }
        read_until(&clients[to], &key, None, Instant::now(), &seen).await;
    }
}

/// Reads until this is what there is; no read of what is shared is served another.
async fn read_until(
    client: &Client,
    key: &str,
    wanted: Option<&str>,
    changed: Instant,
    seen: &Seen,
) {
    // Not always: what is read through is kept.
    if rand::random() {
        let through = client.look(key, ReadMode::ReadThrough).await;
        assert_eq!(text(&through), wanted, "{key}: read through");
        seen.through.fetch_add(1, SeqCst);
    }
    loop {
        let late = changed.elapsed();
        let read = client.look(key, ReadMode::Unspecified).await;
        assert!(!read.degraded);
        seen.near.fetch_add(1, SeqCst);
        if text(&read) == wanted {
            break;
        }
        assert_eq!(read.outcome(), Outcome::Hit, "{key}: older, and complete");
        assert!(late < BOUND, "{key}: {:?} is served {late:?} after {wanted:?}", text(&read));
        seen.old.fetch_add(1, SeqCst);
        seen.longest_us.fetch_max(late.as_micros() as u64, SeqCst);
    }
    seen.rounds.fetch_add(1, SeqCst);
}

/// Of each, where all of them have so many.
fn rounds(changes: usize, in_soak: usize) -> usize {
    (if is_soak() { in_soak } else { changes }) / WRITERS
}

fn changing(clients: &[Client], rounds: usize, seen: &Arc<Seen>) -> JoinSet<()> {
    let change = |who| change(who, rounds, clients.to_vec(), seen.clone());
    (0..WRITERS).map(change).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_soon_served_by_the_others() {
    let redis = Redis::start().await;
    let caches = Caches::start(&redis.url(), PATIENT).await;
    let (seen, rounds) = (Arc::new(Seen::default()), rounds(4_000, 100_000));
    changing(&caches.clients().await, rounds, &seen).join_all().await;
    assert!(seen.tell().0 as usize >= rounds * WRITERS);
}

/// The subscriptions of all are cut again and again: what is not heard is not served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn also_when_what_is_said_does_not_arrive() {
    let redis = Redis::start().await;
    let caches = Caches::start(&redis.url(), PATIENT).await;
    let (seen, end) = (Arc::new(Seen::default()), AtomicBool::new(false));
    let cutting = async {
        let mut cut = 0;
        while !end.load(SeqCst) {
            let killed = redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            cut += killed.parse::<usize>().unwrap();
            pass(Duration::from_millis(rand::random_range(1..600))).await;
        }
        cut
    };
    let working = async {
        changing(&caches.clients().await, rounds(1_600, 8_000), &seen).join_all().await;
        end.store(true, SeqCst);
    };
    let (cut, ()) = tokio::join!(cutting, working);
    eprintln!("cut {cut} times");
    assert!(cut > 3, "{cut}");
    seen.tell();
}

/// What was read before a process was frozen is not served when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_by_a_process_that_was_frozen_meanwhile() {
    let redis = Redis::start().await;
    let mut caches = Caches::start(&redis.url(), PATIENT).await;
    let clients = caches.clients().await;
    let (writer, reader) = (&clients[0], &clients[2]);
    let seen = Seen::default();
    for frozen_ms in [0, 100, 500, 1_100, 1_500, 3_000] {
        let key = format!("frozen-{frozen_ms}");
        assert!(writer.set(entry(&key, "old")).await);
        for _ in 0..2 {
            let read = reader.look(&key, ReadMode::Unspecified).await;
            assert_eq!(text(&read), Some("old"));
        }
        caches.processes[2].freeze();
        assert!(writer.set(entry(&key, "new")).await);
        let changed = Instant::now();
        pass(Duration::from_millis(frozen_ms)).await;
        caches.processes[2].thaw();
        read_until(reader, &key, Some("new"), changed, &seen).await;
    }
    seen.tell();
}
