//! `ratelimit-outage`: checks of many subjects at a rate, while Redis is there, frozen,
//! and there again; beside bare calls at the same rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mingle_testkit as kit;
use tokio::{runtime::Handle, sync::Semaphore, time::sleep};
use tonic::transport::Channel;

use super::{
    asks::{Asks, Kind, Told},
    limiter,
};
use crate::{
    floor,
    latency::Latencies,
    pace::{Rate, Schedule},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    system::{build, channel},
};

/// So much after the begin of the second that is told by itself, and not before it.
const LATER: Duration = Duration::from_millis(100);
/// HTTP/2 connections.
const CONNECTIONS: usize = 4;

/// How many ask.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Checks a second.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Subjects, who ask in turn.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    subjects: u64,
    /// Before Redis is frozen, while it is, and afterwards.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(3..=3600))]
    seconds: u64,
}

/// The times that are told apart.
const TIMES: [&str; 4] =
    ["while Redis is there", "the first second without", "without it", "with it again"];

#[derive(Clone)]
struct Seen {
    by_time: Arc<[Latencies; 4]>,
    degraded: Arc<[AtomicU64; 4]>,
    /// When the last degraded answer was due, in ms.
    last_degraded: Arc<AtomicU64>,
}

impl Seen {
    fn new() -> anyhow::Result<Self> {
        let one = Latencies::new;
        Ok(Self {
            by_time: Arc::new([one()?, one()?, one()?, one()?]),
            degraded: Arc::default(),
            last_degraded: Arc::default(),
        })
    }
}

impl Args {
    /// Which of the times a check is of that is due so long after the begin.
    fn time(&self, due: Duration) -> usize {
        match due.as_secs() {
            at if at < self.seconds => 0,
            at if at == self.seconds => 1,
            at if at < 2 * self.seconds => 2,
            _ => 3,
        }
    }

    fn rate(&self) -> Rate {
        Rate { rate: self.rate, count: u64::from(self.rate) * 3 * self.seconds }
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("ratelimit-outage", "bare tonic calls");
    settings::machine(&mut report);
    let Args { rate, subjects, seconds } = args;
    report.set("load", format!("{rate} checks a second of {subjects} subjects in turn, open loop"));
    report.set("fault", format!("Redis frozen for {seconds} s"));
    for round in 1..=plan.rounds(1) {
        eprintln!("ratelimit-outage, round {round}");
        let redis = kit::Redis::start().await;
        let folder = plan.data_folder()?;
        let server = limiter(plan, &redis.root_url(), folder.path(), &[]).await?;
        let at = server.addr("grpc")?;
        report.set("server", format!("{} ({})", build(at).await?, plan.binary.display()));
        let channels = channels(at).await?;
        let freezing = async {
            sleep(Duration::from_secs(*seconds) + LATER).await;
            let before = proc::resident(server.pid())?;
            redis.freeze();
            sleep(Duration::from_secs(*seconds)).await;
            let after = proc::resident(server.pid())?;
            redis.thaw();
            anyhow::Ok((before, after))
        };
        let cpu = proc::cpu(server.pid())?;
        let (seen, resident) = tokio::try_join!(run(args, Kind::Once, channels), freezing)?;
        let cpu = proc::cpu(server.pid())?.saturating_sub(cpu);
        tell(&mut report, Side::Ours, &seen);
        let part = cpu.as_secs_f64() / (3 * seconds) as f64 * 100.0;
        report.add("CPU of the server, of one core", "%", Side::Ours, part);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        report.add("memory before it is frozen", "MiB", Side::Ours, mib(resident.0));
        report.add("memory at the end of it", "MiB", Side::Ours, mib(resident.1));
        let last = Duration::from_millis(seen.last_degraded.load(Ordering::Relaxed));
        let again = last.saturating_sub(Duration::from_secs(2 * seconds));
        report.add("counted together again after", "s", Side::Ours, again.as_secs_f64());
        server.stop().await?;
        let floor = floor::Server::start(plan, &["floor-echo"]).await?;
        let bare = run(args, Kind::Echo, self::channels(floor.addr()?).await?).await?;
        tell(&mut report, Side::Floor, &bare);
        floor.stop().await?;
    }
    Ok(report)
}

async fn channels(at: std::net::SocketAddr) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(channel(at).await?);
    }
    Ok(channels)
}

fn tell(report: &mut Report, side: Side, seen: &Seen) {
    for (at, time) in TIMES.into_iter().enumerate() {
        seen.by_time[at].report(report, side, &format!("call {time}"));
        if matches!(side, Side::Ours) {
            let all = seen.by_time[at].count().max(1) as f64;
            let part = seen.degraded[at].load(Ordering::Relaxed) as f64 / all * 100.0;
            report.add(&format!("degraded {time}"), "%", side, part);
        }
    }
}

/// Asks when each is due, and takes note of how long after that it was answered.
async fn run(args: &Args, kind: Kind, channels: Vec<Channel>) -> anyhow::Result<Seen> {
    let seen = Seen::new()?;
    let (schedule, runtime) = (Schedule::new(args.rate()), Handle::current());
    let (count, subjects) = (args.rate().count, args.subjects);
    // Each takes one of these until it is answered.
    let flying = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    let times: Vec<_> = (0..=args.rate().count / u64::from(args.rate))
        .map(|second| args.time(Duration::from_secs(second)))
        .collect();
    let (told, each) = (seen.clone(), args.rate);
    let all = flying.clone();
    let failed = Arc::new(AtomicU64::new(0));
    let failures = failed.clone();
    schedule
        .run(move |index| {
            let asks = Asks {
                kind,
                channel: channels[index as usize % channels.len()].clone(),
                subjects: Arc::new(AtomicU64::new(index % subjects)),
            };
            let time = times[(index / u64::from(each)) as usize];
            let (seen, failed) = (told.clone(), failures.clone());
            let Ok(flight) = flying.clone().try_acquire_owned() else { return };
            runtime.spawn(async move {
                let _flight = flight;
                match asks.ask().await {
                    Ok(Told { degraded }) => {
                        seen.by_time[time].record(schedule.since(index));
                        if degraded {
                            seen.degraded[time].fetch_add(1, Ordering::Relaxed);
                            let due = index * 1_000 / u64::from(each);
                            seen.last_degraded.fetch_max(due, Ordering::Relaxed);
                        }
                    }
                    Err(_) => _ = failed.fetch_add(1, Ordering::Relaxed),
                }
            });
        })
        .await?;
    while all.available_permits() < Semaphore::MAX_PERMITS {
        sleep(Duration::from_millis(10)).await;
    }
    let failed = failed.load(Ordering::Relaxed);
    anyhow::ensure!(failed == 0, "{failed} of {count} calls failed");
    Ok(seen)
}
