//! Random writes, loads and voids of three processes over one Redis that loses its
//! connections and freezes, judged from outside by what callers were told and when.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use mingle_proto::cache::v1::{
    self, Applied, Entry, FillOutcome, FillRequest, GetRequest, Outcome, SetOutcome, SetRequest,
};
use mingle_testkit::{Redis as Server, eventually};
use rand::Rng as _;
use tokio::time::Instant;

use crate::{
    rpcs::stage::{Instance, get, several, tagged, text},
    world::SOON,
};

const TASKS: usize = 24;
const STEPS: usize = 250;
const KEYS: usize = 6;
/// What memory may serve after it was voided.
const BOUND: Duration = Duration::from_millis(1_200);
const NAMESPACE: &str = "races";

/// A value, by when it may have been made and when it was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Written {
    key: usize,
    /// Of a Set its own begin; of a Fill, when its load may have begun.
    begun: Instant,
    /// The same, when it had.
    made: Instant,
}

/// What voids everything of a key that was made before it began.
#[derive(Clone, Copy, Debug)]
struct Voided {
    /// `None`: of all keys.
    key: Option<usize>,
    begun: Instant,
    done: Instant,
}

/// What a Get was answered.
#[derive(Clone, Debug)]
struct Seen {
    key: usize,
    value: String,
    begun: Instant,
    ended: Instant,
    through: bool,
}

/// What happened, as callers know it.
#[derive(Default)]
struct Log {
    written: HashMap<String, Written>,
    voided: Vec<Voided>,
    seen: Vec<Seen>,
    filled: usize,
    rejected: usize,
    pending: usize,
    degraded: usize,
}

type Shared = Arc<Mutex<Log>>;

fn name(key: usize) -> String {
    format!("key{key}")
}

fn tag(key: usize) -> String {
    format!("tag{key}")
}

fn value(key: usize, text: &str) -> Entry {
    tagged(&name(key), text, &[&tag(key), "all"])
}

/// One caller: what it does next is chance.
async fn call(one: Instance, log: Shared) {
    for _ in 0..STEPS {
        let (key, what) = {
            let mut rng = rand::rng();
            (rng.random_range(0..KEYS), rng.random_range(0..100))
        };
        match what {
            0..50 => read(&one, &log, key).await,
            50..75 => load(&one, &log, key).await,
            75..85 => set(&one, &log, key).await,
            _ => void(&one, &log, key, what).await,
        }
    }
}

async fn read(one: &Instance, log: &Shared, key: usize) {
    let through = rand::random();
    let mode = i32::from(through);
    let request = GetRequest { mode, without_lease: true, ..get(NAMESPACE, &name(key)) };
    let begun = Instant::now();
    let Ok(read) = one.client.clone().get(request).await else { return };
    let read = read.into_inner();
    note(log, key, &read, through, begun);
}

fn note(log: &Shared, key: usize, read: &v1::GetResponse, through: bool, begun: Instant) {
    let mut log = log.lock().unwrap();
    if read.degraded {
        log.degraded += 1;
        assert!(!through || read.value.is_none(), "nobody can vouch for it");
        return;
    }
    if read.value.is_some() {
        let (value, ended) = (text(read).to_owned(), Instant::now());
        log.seen.push(Seen { key, value, begun, ended, through });
    }
}

async fn load(one: &Instance, log: &Shared, key: usize) {
    let tags = vec![tag(key), "all".to_owned()];
    let request = GetRequest { tags, wait_ms: 50, ..get(NAMESPACE, &name(key)) };
    let begun = Instant::now();
    let Ok(read) = one.client.clone().get(request).await else { return };
    let read = read.into_inner();
    note(log, key, &read, false, begun);
    let Some(lease) = read.lease else { return };
    // The lease was given by now: what is voided from here on voids it.
    let written = Written { key, begun, made: Instant::now() };
    let text = format!("{:032x}", rand::random::<u128>());
    // Before it can be seen.
    log.lock().unwrap().written.insert(text.clone(), written);
    tokio::task::yield_now().await;
    let request = FillRequest {
        namespace: NAMESPACE.to_owned(),
        entry: Some(value(key, &text)),
        lease: lease.token,
        load_failed: false,
    };
    let Ok(filled) = one.client.clone().fill(request).await else { return };
    let mut log = log.lock().unwrap();
    match filled.into_inner().outcome() {
        FillOutcome::Stored => log.filled += 1,
        _ => log.rejected += 1,
    }
}

/// A Set replaces: it voids what was made before it.
async fn set(one: &Instance, log: &Shared, key: usize) {
    let text = format!("{:032x}", rand::random::<u128>());
    let begun = Instant::now();
    // Made when it ends: until then what replaces it may come before it.
    log.lock()
        .unwrap()
        .written
        .insert(text.clone(), Written { key, begun, made: begun + SOON * 9 });
    let request = SetRequest {
        namespace: NAMESPACE.to_owned(),
        entry: Some(value(key, &text)),
        ..SetRequest::default()
    };
    let Ok(set) = one.client.clone().set(request).await else { return };
    let set = set.into_inner();
    assert_eq!(set.outcome(), SetOutcome::Stored);
    let mut log = log.lock().unwrap();
    if set.degraded {
        log.pending += 1;
        return;
    }
    let done = Instant::now();
    log.written.insert(text, Written { key, begun, made: done });
    log.voided.push(Voided { key: Some(key), begun, done });
}

async fn void(one: &Instance, log: &Shared, key: usize, what: usize) {
    let (mut client, namespace) = (one.client.clone(), NAMESPACE.to_owned());
    let begun = Instant::now();
    let (of, applied) = match what {
        85..92 => {
            let request = v1::DeleteRequest { namespace, key: name(key) };
            (Some(key), client.delete(request).await.map(|it| it.into_inner().applied()))
        }
        92..97 => {
            let request = v1::InvalidateTagRequest { namespace, tag: tag(key) };
            (Some(key), client.invalidate_tag(request).await.map(|it| it.into_inner().applied()))
        }
        97..99 => {
            let request = v1::InvalidateTagRequest { namespace, tag: "all".to_owned() };
            (None, client.invalidate_tag(request).await.map(|it| it.into_inner().applied()))
        }
        _ => {
            let request = v1::ClearNamespaceRequest { actor: "root".to_owned(), namespace };
            (None, client.clear_namespace(request).await.map(|it| it.into_inner().applied()))
        }
    };
    let mut log = log.lock().unwrap();
    match applied {
        Ok(Applied::Done) => log.voided.push(Voided { key: of, begun, done: Instant::now() }),
        _ => log.pending += 1,
    }
}

/// What was seen against what was known by then.
fn judge(log: &Log) {
    for Seen { key, value, begun, ended, through } in &log.seen {
        let written = log.written.get(value).expect("nobody wrote it");
        assert_eq!(written.key, *key, "of another key");
        assert!(written.begun <= *ended, "before it was written");
        let slack = if *through { Duration::ZERO } else { BOUND };
        let voided = log.voided.iter().find(|voided| {
            let is_of = voided.key.is_none_or(|of| of == *key);
            is_of && voided.begun > written.made && voided.done + slack < *begun
        });
        let late = voided.map(|voided| *begun - voided.done);
        assert!(late.is_none(), "{late:?} after it was void, through {through}: {written:?}");
    }
}

/// Faults until the callers are done; how many there were.
async fn trouble(server: &Server, mut done: tokio::sync::oneshot::Receiver<()>) -> usize {
    let mut faults = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(400));
    loop {
        tokio::select! {
            _ = &mut done => return faults,
            _ = ticks.tick() => {}
        }
        match faults % 3 {
            0 => drop(server.try_cli(&["CLIENT", "KILL", "TYPE", "pubsub"])),
            1 => drop(server.try_cli(&["CLIENT", "KILL", "TYPE", "normal"])),
            _ => {
                server.freeze();
                ticks.tick().await;
                server.thaw();
            }
        }
        faults += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_that_was_void_before() {
    let (instances, server) = several(3).await;
    let log = Shared::default();
    let calling =
        (0..TASKS).map(|n| tokio::spawn(call(instances[n % instances.len()].clone(), log.clone())));
    let calling: Vec<_> = calling.collect();
    let (ends, done) = tokio::sync::oneshot::channel();
    let (faults, ()) = tokio::join!(trouble(&server, done), async {
        for called in join_all(calling).await {
            called.unwrap();
        }
        let _ = ends.send(());
    });
    sum_up(&log.lock().unwrap(), faults);
    // Nothing is left behind: each key is loaded again.
    for key in 0..KEYS {
        eventually(SOON, "a value", async || {
            let request = GetRequest { wait_ms: 1_000, ..get(NAMESPACE, &name(key)) };
            let read = instances[key % 3].get(request).await;
            match read.outcome() {
                Outcome::Hit | Outcome::Stale => !read.degraded,
                _ if read.lease.is_some() => {
                    let end = tagged(&name(key), "end", &[]);
                    instances[0].fill(NAMESPACE, end, &read).await == FillOutcome::Stored
                }
                _ => false,
            }
        })
        .await;
    }
}

/// Judges, and asserts that there was something to judge.
fn sum_up(log: &Log, faults: usize) {
    judge(log);
    let through = log.seen.iter().filter(|seen| seen.through).count();
    let told = format!(
        "{} seen, {through} of them through; {} voided, {} pending; {} filled, {} rejected; {} \
         degraded; {faults} faults",
        log.seen.len(),
        log.voided.len(),
        log.pending,
        log.filled,
        log.rejected,
        log.degraded,
    );
    let counts = [through, log.seen.len() - through, log.voided.len(), log.filled, log.rejected];
    assert!(counts.iter().all(|count| *count > 0) && faults > 2, "too little happened: {told}");
}
