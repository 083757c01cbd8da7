//! One loader of many callers, over three processes: of those who come at once, of those
//! who die, and of a source that is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use mingle_client::cache::Cache;
use mingle_proto::cache::v1::{FillOutcome, GetRequest, GetResponse, Outcome};
use mingle_testkit::{Mingle, Redis};
use tokio::{task::JoinSet, time::interval};
use tonic::{Code, transport::Channel};

use super::{Caches, Client, LASTING, PATIENT, QUICK, entry, found, get, is_soak, time};
use crate::world::SOON;

const PATIENCE_MS: u64 = 20_000;
const KEY: &str = "cold";

/// An unoptimized build is busy with ten thousand for seconds.
fn callers() -> usize {
    if is_soak() { 10_000 } else { 3_000 }
}

/// All of them ask at once, each of the processes in turn.
fn ask(clients: &[Client]) -> JoinSet<(usize, Result<GetResponse, tonic::Status>)> {
    let mut asking = JoinSet::new();
    for who in 0..callers() {
        let (nth, client) = (who % clients.len(), clients[who % clients.len()].clone());
        asking.spawn(async move {
            let get = GetRequest { wait_ms: PATIENCE_MS, ..get(LASTING, KEY) };
            let mut request = tonic::Request::new(get);
            request.set_timeout(Duration::from_secs(30));
            (nth, client.0.clone().get(request).await.map(tonic::Response::into_inner))
        });
    }
    asking
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_thousands_who_ask_at_once_one_loads() {
    let redis = Redis::start().await;
    let caches = Caches::start(&redis.url(), PATIENT).await;
    let clients = caches.clients().await;
    let (mut loads, mut served) = (0, 0);
    let mut asking = ask(&clients);
    while let Some(answer) = asking.join_next().await {
        let (nth, read) = answer.unwrap();
        let mut read = read.unwrap();
        match read.lease.take() {
            Some(lease) => {
                loads += 1;
                let filled = clients[nth].fill(LASTING, entry(KEY, "loaded"), lease).await;
                assert_eq!(filled, FillOutcome::Stored);
            }
            None => {
                assert_eq!(found(&read), (Outcome::Hit, Some("loaded")));
                served += 1;
            }
        }
    }
    assert_eq!((loads, served), (1, callers() - 1));
    assert_no_load(&clients).await;
}

async fn assert_no_load(clients: &[Client]) {
    for client in clients {
        assert_eq!(found(&client.get(get(LASTING, KEY)).await), (Outcome::Hit, Some("loaded")));
    }
}

/// The first who loads dies, and so does the process that gave it the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_wait_one_loads_when_the_loader_is_killed() {
    let redis = Redis::start().await;
    let mut caches = Caches::start(&redis.url(), PATIENT).await;
    let clients = caches.clients().await;
    let (mut loads, mut served, mut lost, mut killed) = (Vec::new(), 0, 0, None);
    let mut asking = ask(&clients);
    while let Some(answer) = asking.join_next().await {
        let (nth, read) = answer.unwrap();
        let read = match read {
            Ok(read) => read,
            Err(status) => {
                assert_eq!(Some(nth), killed, "{status}");
                let gone = [Code::Unavailable, Code::Unknown, Code::Cancelled];
                assert!(gone.contains(&status.code()), "{status}");
                lost += 1;
                continue;
            }
        };
        match (&read.lease, killed) {
            (Some(_), None) => {
                caches.processes[nth].kill9();
                killed = Some(nth);
                loads.push(Instant::now());
            }
            (Some(lease), Some(_)) => {
                loads.push(Instant::now());
                let filled = clients[nth].fill(LASTING, entry(KEY, "loaded"), lease.clone()).await;
                assert_eq!(filled, FillOutcome::Stored);
            }
            (None, _) => {
                assert_eq!(found(&read), (Outcome::Hit, Some("loaded")));
                served += 1;
            }
        }
    }
    assert_eq!(loads.len(), 2, "one lease after the other");
    assert!(lost > 1 && served > callers() / 2, "{lost} lost, {served} served");
    eprintln!("{lost} lost, {served} served, loaded {:?} later", loads[1] - loads[0]);
    let alive: Vec<_> = (0..3).filter(|nth| Some(*nth) != killed).collect();
    assert_no_load(&alive.iter().map(|nth| clients[*nth].clone()).collect::<Vec<_>>()).await;
}

/// How often each of them asks.
const PAUSE: Duration = Duration::from_millis(20);
/// Of the namespace.
const THROTTLE: Duration = Duration::from_secs(1);

async fn cache(process: &Mingle) -> Cache<Channel> {
    let at = Channel::from_shared(format!("http://{}", process.grpc_addr())).unwrap();
    // No answer is to be late here, on however slow a machine.
    Cache::new(at.connect().await.unwrap(), QUICK).with_patience(SOON, SOON)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_away_is_asked_seldom_and_nobody_notices() {
    let redis = Redis::start().await;
    let caches = Caches::start(&redis.url(), PATIENT).await;
    let first = cache(&caches.processes[0]).await;
    let loaded: Result<_, String> = first.get_or_load("a", None, &[], async || Ok(Some(7))).await;
    assert_eq!(loaded, Ok(Some(7)));
    let (tried, time) = (Arc::new(AtomicUsize::new(0)), time(8, 60));
    let mut asking = JoinSet::new();
    let begin = Instant::now();
    for who in 0..30 {
        let (cache, tried) = (cache(&caches.processes[who % 3]).await, tried.clone());
        asking.spawn(async move {
            let (mut pace, mut served) = (interval(PAUSE), 0);
            while begin.elapsed() < time {
                pace.tick().await;
                let fails = async || -> Result<Option<u32>, String> {
                    tried.fetch_add(1, SeqCst);
                    Err("the source is away".to_owned())
                };
                assert_eq!(cache.get_or_load("a", None, &[], fails).await, Ok(Some(7)));
                served += 1;
            }
            served
        });
    }
    let served: usize = asking.join_all().await.into_iter().sum();
    let (tried, took) = (tried.load(SeqCst), begin.elapsed());
    let most = took.as_millis() / THROTTLE.as_millis();
    eprintln!("{served} served, the source asked {tried} times in {took:?}");
    assert!(tried > 1 && tried as u128 <= most, "asked {tried} times in {took:?}");
    assert!(served > 30 * 10, "{served}");
}
