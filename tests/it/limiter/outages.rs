//! Redis is frozen, cut off, killed, emptied, full, and somebody's replica: each limit
//! is decided by its policy, over three processes, and exactly again afterwards.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mingle_proto::ratelimit::v1::{Charge, CheckRequest, PeekRequest};
use mingle_testkit::{Fault as Way, Mingle, Proxy, Redis, eventually};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::interval};

use super::{callers::client, know_each_other};
use crate::world::SOON;

const CALLERS: usize = 24;
const PAUSE: Duration = Duration::from_millis(20);
const QUOTA: u64 = 30;
const WINDOW: Duration = Duration::from_secs(1);
const POLICIES: [&str; 3] = ["local", "open", "closed"];

#[derive(Clone, Copy, Debug)]
enum Fault {
    Freeze,
    Cut,
    Kill,
    Empty,
    Memory,
    Replica,
}

const FAULTS: [Fault; 6] =
    [Fault::Freeze, Fault::Cut, Fault::Kill, Fault::Empty, Fault::Memory, Fault::Replica];

impl Fault {
    fn begin(self, redis: &Redis, way: &Proxy, other: &Redis) {
        match self {
            Self::Freeze => redis.freeze(),
            Self::Cut => way.set(Way::Cut),
            Self::Kill | Self::Empty => redis.kill(),
            Self::Memory => assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK"),
            Self::Replica => {
                let port = other.port().to_string();
                assert_eq!(redis.cli(&["REPLICAOF", "127.0.0.1", &port]), "OK");
            }
        }
    }

    async fn end(self, redis: &Redis, way: &Proxy) {
        match self {
            Self::Freeze => redis.thaw(),
            Self::Cut => way.set(Way::None),
            Self::Kill => redis.restart().await,
            Self::Empty => redis.restart_empty().await,
            Self::Memory => assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK"),
            Self::Replica => assert_eq!(redis.cli(&["REPLICAOF", "NO", "ONE"]), "OK"),
        }
    }
}

/// An answer.
#[derive(Clone, Copy, Debug)]
struct Told {
    policy: usize,
    asked: Instant,
    answered: Instant,
    allowed: bool,
    degraded: bool,
}

/// Three processes that reach Redis by a way of their own.
struct Stage {
    redis: Redis,
    other: Redis,
    way: Proxy,
    processes: Vec<Mingle>,
    _folder: TempDir,
}

impl Stage {
    async fn start() -> Self {
        let (redis, other) = (Redis::start().await, Redis::start().await);
        let way = Proxy::to(redis.address()).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("limits.toml");
        let limit = |policy| {
            format!(
                "[ratelimit.limits.{policy}]\nalgorithm = \"sliding_window\"\nquota = {QUOTA}\n\
                 window = \"{}s\"\noutage = \"{policy}\"\n",
                WINDOW.as_secs()
            )
        };
        std::fs::write(&file, POLICIES.map(limit).concat()).unwrap();
        let mut processes = Vec::new();
        for _ in 0..3 {
            let builder = Mingle::builder().arg("--config").arg(&file).arg("serve");
            let builder = builder.env("REDIS_URL", redis.url_by(way.address()));
            // Less than the kit's patience, so that a frozen server is soon noticed; more
            // than in production, for a machine that is busy.
            let builder = builder.env("MINGLE_RATELIMIT__TIMEOUT_MS", "250");
            processes.push(builder.arg("ratelimit").start().await);
        }
        know_each_other(&redis).await;
        Self { redis, other, way, processes, _folder: folder }
    }

    /// Waits until each process counts alone, or together.
    async fn until_alone(&self, alone: bool) {
        for process in &self.processes {
            let client = client(&process.grpc_addr());
            eventually(SOON, &format!("it counts alone: {alone}"), async || {
                let limits = vec!["local".to_owned()];
                let charge = Charge { subject: "looks".to_owned(), limits, cost: Some(1) };
                let peek = PeekRequest { charge: Some(charge) };
                client.clone().peek(peek).await.unwrap().into_inner().degraded == alone
            })
            .await;
        }
    }

    /// So long a time passes.
    async fn pass(&self, time: Duration) {
        let begin = Instant::now();
        eventually(time + SOON, "time passes", async || begin.elapsed() >= time).await;
    }
}

/// Asks until `end`, each limit in turn, by each process in turn.
async fn ask(processes: Vec<SocketAddr>, who: usize, end: Arc<AtomicBool>) -> Vec<Told> {
    let clients: Vec<_> = processes.iter().map(client).collect();
    let (mut told, mut pace) = (Vec::new(), interval(PAUSE));
    for number in 0.. {
        pace.tick().await;
        if end.load(Ordering::Relaxed) {
            break;
        }
        let policy = (who + number) % POLICIES.len();
        let limits = vec![POLICIES[policy].to_owned()];
        let charge = Some(Charge { subject: "ann".to_owned(), limits, cost: Some(1) });
        let request = CheckRequest {
            charge,
            request_id: format!("{who}-{number}"),
            is_new: false,
            once: false,
        };
        let asked = Instant::now();
        let mut client = clients[(who + number / POLICIES.len()) % clients.len()].clone();
        let reply = client.check(request).await.unwrap().into_inner();
        let (allowed, degraded) = (reply.allowed, reply.degraded);
        told.push(Told { policy, asked, answered: Instant::now(), allowed, degraded });
    }
    told
}

/// The most that one limit admitted within a window for certain.
fn most(told: &[Told], policy: &str) -> u64 {
    let of_policy = |it: &&Told| POLICIES[it.policy] == policy && it.allowed;
    let admitted: Vec<_> = told.iter().filter(of_policy).collect();
    let within = |(at, first): (usize, &&Told)| {
        let after = admitted[at..].iter().take_while(|it| it.asked - first.asked < WINDOW);
        after.filter(|it| it.answered - first.asked < WINDOW).count() as u64
    };
    admitted.iter().enumerate().map(within).max().unwrap_or(0)
}

fn between(told: &[Told], from: Instant, to: Instant) -> Vec<Told> {
    told.iter().filter(|it| from <= it.asked && it.answered <= to).copied().collect()
}

/// While all count alone: each as its policy says, and all of them no more than the
/// quota.
fn assert_by_policy(inside: &[Told], fault: Fault) {
    assert!(inside.iter().all(|it| it.degraded), "{fault:?}: all is decided alone");
    for (at, policy) in POLICIES.iter().enumerate() {
        let of_policy = || inside.iter().filter(|it| it.policy == at);
        let (asked, allowed) = (of_policy().count(), of_policy().filter(|it| it.allowed).count());
        assert!(asked > QUOTA as usize, "{fault:?} {policy}: {asked} asked");
        match *policy {
            "open" => assert_eq!(allowed, asked, "{fault:?}"),
            "closed" => assert_eq!(allowed, 0, "{fault:?}"),
            _ => {
                let most = most(inside, policy);
                assert!((1..=QUOTA).contains(&most), "{fault:?}: {most} of {QUOTA} alone");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_is_decided_by_its_policy_and_exactly_again_afterwards() {
    let stage = Stage::start().await;
    let addresses: Vec<_> = stage.processes.iter().map(Mingle::grpc_addr).collect();
    let (mut asking, end) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
    for who in 0..CALLERS {
        asking.spawn(ask(addresses.clone(), who, end.clone()));
    }
    let mut times = Vec::new();
    for fault in FAULTS {
        stage.pass(WINDOW).await;
        fault.begin(&stage.redis, &stage.way, &stage.other);
        stage.until_alone(true).await;
        let alone = Instant::now();
        stage.pass(2 * WINDOW).await;
        let over = Instant::now();
        fault.end(&stage.redis, &stage.way).await;
        stage.until_alone(false).await;
        eprintln!("{fault:?}: counted together again {:?} later", over.elapsed());
        let together = Instant::now();
        // Each learns anew how many they are, and keeps its share meanwhile.
        know_each_other(&stage.redis).await;
        stage.pass(WINDOW).await;
        times.push((fault, alone, over, together, Instant::now()));
    }
    end.store(true, Ordering::Relaxed);
    let mut told: Vec<_> = asking.join_all().await.into_iter().flatten().collect();
    told.sort_by_key(|it| it.asked);
    for (fault, alone, over, together, later) in times {
        assert_by_policy(&between(&told, alone, over), fault);
        let again = between(&told, together + WINDOW, later);
        // On a busy machine an answer may still be late, and decided alone.
        let alone = again.iter().filter(|it| it.degraded && it.allowed).count() as u64;
        let most = most(&again, "local");
        assert!(
            most <= QUOTA + alone,
            "{fault:?}: {most} of {QUOTA} when it is over, {alone} alone"
        );
    }
    let most_ever = most(&told, "local");
    eprintln!("{} answers; at most {most_ever} of {QUOTA} in a window", told.len());
    assert!((QUOTA / 2..=2 * QUOTA).contains(&most_ever), "{most_ever} of {QUOTA}");
}
