//! The limiter by three processes, as Redis itself logs what was counted.

mod callers;
mod envoy;
mod files;
mod hot;
mod kinds;
mod log;
mod outages;
mod reload;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mingle_proto::ratelimit::v1::{Charge, PeekRequest};
use mingle_testkit::{Cluster, Mingle, Redis, Sentinels, eventually};
use tempfile::TempDir;

use crate::{
    processes::monitor::{Executed, Monitor},
    world::SOON,
};
use callers::{Admitted, Answers, client};
use kinds::{ALL, FLEET, HOT, KINDS, Kind, NARROW};
use log::{most_between_edges, most_held, most_within, read, standing};

/// How long they ask.
fn time() -> Duration {
    Duration::from_secs(if std::env::var_os("MINGLE_SOAK").is_some() { 60 } else { 10 })
}

/// However busy the machine is, no call of Redis takes as long, in ms.
const PATIENT: &str = "9000";

/// Three processes over one Redis.
struct Limiter {
    processes: Vec<Mingle>,
    _folder: TempDir,
}

impl Limiter {
    async fn start(redis_url: &str, timeout_ms: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("limits.toml");
        let limits = KINDS.iter().chain(&HOT).chain([&NARROW, &FLEET, &ALL]).map(Kind::toml);
        std::fs::write(&file, limits.collect::<String>()).unwrap();
        let mut processes = Vec::new();
        for _ in 0..3 {
            let builder = Mingle::builder().arg("--config").arg(&file).arg("serve");
            let builder = builder.arg("ratelimit").env("REDIS_URL", redis_url);
            processes.push(builder.env("MINGLE_RATELIMIT__TIMEOUT_MS", timeout_ms).start().await);
        }
        Self { processes, _folder: folder }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.processes.iter().map(Mingle::grpc_addr).collect()
    }

    /// What all of a subject's charges that stand cost, as the limiter says.
    async fn used(&self, subject: &str) -> u64 {
        let limits = vec![ALL.name.to_owned()];
        let charge = Some(Charge { subject: subject.to_owned(), limits, cost: Some(1) });
        let peek = PeekRequest { charge };
        let reply = client(&self.processes[0].grpc_addr()).peek(peek).await.unwrap().into_inner();
        ALL.quota - reply.states[0].remaining
    }
}

/// What they were told is what Redis logs, and the counters say the same.
async fn assert_counted(limiter: &Limiter, answers: &Answers, logs: &[Vec<Executed>]) {
    let told = answers.admitted.len();
    eprintln!(
        "{told} admitted, {} denied, {} repeated, {} refunded; {} leases, {} renewed, {} released",
        answers.denied,
        answers.repeated,
        answers.refunded,
        answers.leases,
        answers.renewed,
        answers.released
    );
    assert_eq!((answers.degraded, answers.lost), (0, 0), "all of it was counted together");
    let happened = [answers.denied, answers.repeated, answers.refunded, answers.leases];
    let least = happened.into_iter().chain([answers.renewed, answers.released]).min();
    assert!(least > Some(0), "too little happened");
    let made: usize = logs.iter().map(|log| standing(&read(log)).1).sum();
    assert_eq!(made, told, "charges that Redis logs, and that somebody was told of");
    for subject in KINDS.iter().filter(|kind| !kind.is_held()).flat_map(callers::subjects) {
        let stands = |it: &&Admitted| it.stands && it.subject == subject;
        let stands: u64 = answers.admitted.iter().filter(stands).map(|it| it.cost).sum();
        assert_eq!(limiter.used(&subject).await, stands, "{subject}");
    }
}

/// No window of Redis's time holds more than its algorithm promises.
fn assert_kept(logs: &[Vec<Executed>], time: Duration) {
    let mut seen = 0;
    for events in logs.iter().map(|log| read(log)) {
        for ((subject, name), charges) in standing(&events).0 {
            let (kind, all) = (Kind::of(name), charges.iter().map(|(_, cost)| cost).sum::<u64>());
            let window_us = kind.window.as_micros() as u64;
            let most = most_within(&charges, window_us);
            eprintln!("{subject} {name}: {all} in all, {most} of {} in a window", kind.promised());
            assert!(most <= kind.promised(), "{subject} {name}: {most}");
            if name == "fixed" {
                assert!(most_between_edges(&charges, window_us) <= kind.quota, "{subject}");
            }
            // What is stacked, and what is coarse, others use up first.
            if ["sliding", "paced", "bucket", "fixed"].contains(&name) && all > kind.least(time) {
                seen += 1;
            }
        }
        for (name, most) in most_held(&events) {
            eprintln!("{name}: {most} held at once");
            assert!(most <= Kind::of(name).quota, "{name}: {most}");
            seen += usize::from(most > Kind::of(name).quota / 2);
        }
    }
    assert!(seen >= 6, "each is used up: {seen}");
}

async fn run(limiter: &Limiter, servers: &[&Redis]) {
    let mut monitors = Vec::new();
    for server in servers {
        monitors.push(Monitor::start(server).await);
    }
    let time = time();
    let answers = callers::ask(&limiter.addresses(), Instant::now() + time).await;
    let mut logs = Vec::new();
    for (monitor, server) in monitors.into_iter().zip(servers) {
        logs.push(monitor.end(server).await);
    }
    assert_counted(limiter, &answers, &logs).await;
    assert_kept(&logs, time);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_algorithm_keeps_its_promise_over_three_processes() {
    let redis = Redis::start().await;
    run(&Limiter::start(&redis.url(), PATIENT).await, &[&redis]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_on_a_cluster() {
    let cluster = Cluster::start().await;
    run(&Limiter::start(&cluster.url(), PATIENT).await, &cluster.primaries()).await;
}

/// What was not copied to the replica is admitted once more, and what each process
/// admits alone meanwhile is its share: twice what is promised, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_admits_twice_at_most() {
    let sentinels = Sentinels::start().await;
    let limiter = Limiter::start(&sentinels.url(), "500").await;
    let asking = tokio::spawn({
        let (addresses, end) = (limiter.addresses(), Instant::now() + 3 * time());
        async move { callers::ask(&addresses, end).await }
    });
    let old = sentinels.primary().expect("the sentinels agree");
    know_each_other(old).await;
    old.kill();
    eventually(SOON, "another is elected", async || {
        sentinels.primary().is_some_and(|primary| primary.port() != old.port())
    })
    .await;
    let answers = asking.await.unwrap();
    eprintln!("{} admitted, {} degraded", answers.admitted.len(), answers.degraded);
    assert!(answers.degraded > 0, "the election was noticed");
    for kind in KINDS.iter().filter(|kind| !kind.is_held()) {
        for subject in callers::subjects(kind) {
            let mut charged: Vec<_> =
                answers.admitted.iter().filter(|it| it.stands && it.subject == subject).collect();
            charged.sort_by_key(|it| it.asked);
            let most = certain(&charged, kind.window);
            eprintln!("{subject}: {most} of {} in a window", kind.promised());
            assert!(most <= 2 * kind.promised(), "{subject}: {most}");
        }
    }
}

/// Each has said that it lives since all have, and was told how many there are: what
/// its share is of.
async fn know_each_other(redis: &Redis) {
    let beats = || {
        let told = redis.cli(&["ZRANGE", "mingle:{rl-instances}:1", "0", "-1", "WITHSCORES"]);
        let told: Vec<_> = told.lines().map(ToOwned::to_owned).collect();
        let at = |beat: &[String]| (beat[0].clone(), beat[1].parse::<u64>().unwrap());
        told.chunks(2).map(at).collect::<BTreeMap<_, _>>()
    };
    eventually(SOON, "all are there", async || beats().len() == 3).await;
    let first = beats();
    eventually(SOON, "each knows it", async || {
        beats().iter().all(|(who, at)| first.get(who).is_some_and(|before| at > before))
    })
    .await;
}

/// The most that were charged within a window for certain: asked for and answered in
/// it.
fn certain(charged: &[&Admitted], window: Duration) -> u64 {
    let within = |(at, first): (usize, &&Admitted)| {
        let after = charged[at..].iter().take_while(|it| it.asked - first.asked < window);
        let inside = after.filter(|it| it.answered - first.asked < window);
        inside.map(|it| it.cost).sum()
    };
    charged.iter().enumerate().map(within).max().unwrap_or(0)
}
