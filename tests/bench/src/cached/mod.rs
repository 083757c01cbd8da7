//! `cache`: reads of one cache process over Redis, each kind beside a bare tonic call;
//! what a tag on many values costs, and what a large value is kept as.

mod coherence;
mod reads;
pub(crate) mod versus;
mod zipf;

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use mingle_proto::cache::v1::{
    Applied, Entry, InvalidateTagRequest, SetManyRequest, SetRequest, StatsRequest, Value,
    cache_service_client::CacheServiceClient,
};
use mingle_testkit as kit;
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::transport::Channel;

use reads::{FAR, KEYS, Kind, NAMESPACE, Reads};

use crate::{
    child::Child,
    floor,
    load::Load,
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    system::{build, channel},
};

const ROUNDS: u32 = 3;
const WARM_UP: Duration = Duration::from_secs(1);
/// What an answer on cores that are full may take.
const PATIENCE: (&str, &str) = ("MINGLE_CACHE__TIMEOUT_MS", "2000");
const TAG: &str = "all";
/// Values that are stored by one call.
const STORED: usize = 1_000;
const JSON_BYTES: usize = 100_000;

/// How many call, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Calls in flight.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    callers: u32,
    /// HTTP/2 connections that they share.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Of each run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Values that carry the tag which is invalidated.
    #[arg(long, default_value_t = 1_000_000)]
    tagged: usize,
    /// Values that one process replaces and another reads.
    #[arg(long, default_value_t = 100_000)]
    changes: usize,
    /// Keys of the Zipf workload, of which memory has room for a twentieth.
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// MiB of the memory whose cost is measured.
    #[arg(long, default_value_t = 128)]
    memory: usize,
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("cache", "a bare tonic call");
    settings::machine(&mut report);
    let Args { callers, connections, tagged, .. } = args;
    report.set("values", format!("{KEYS} of 100 bytes, one tag each; {tagged} of 10 with one tag"));
    report.set("load", format!("closed loop, {callers} callers on {connections} connections"));
    let redis = kit::Redis::start().await;
    let cache = start(plan, &redis).await?;
    let at = cache.0.addr("grpc")?;
    report.set("server", format!("{} ({})", build(at).await?, plan.binary.display()));
    settings::telemetry(&mut report);
    read(&mut report, plan, args, (at, cache.0.pid())).await?;
    let channel = channel(at).await?;
    invalidate(&mut report, &channel, *tagged).await?;
    keep(&mut report, &channel).await?;
    let other = start(plan, &redis).await?;
    let reader = crate::system::channel(other.0.addr("grpc")?).await?;
    coherence::measure(&mut report, (&channel, &reader), args.changes).await?;
    other.0.stop().await?;
    cache.0.stop().await?;
    zipf::measure(&mut report, plan, &redis.root_url(), args).await?;
    Ok(report)
}

/// A process, and the folder of its log.
async fn start(plan: &Plan, redis: &kit::Redis) -> anyhow::Result<(Child, TempDir)> {
    let (url, folder) = (redis.root_url(), plan.data_folder()?);
    let variables = [
        ("REDIS_URL", &*url),
        ("MINGLE_GRPC__LISTEN", "127.0.0.1:0"),
        ("MINGLE_PROBES__LISTEN", "127.0.0.1:0"),
        PATIENCE,
    ];
    let (log, file) = (("mingle", folder.path().join("log")), folder.path().join("cache.toml"));
    let namespace = "soft = \"1h\"\nhard = \"1h\"\nearly = 0.0\nlocal_bytes = 0\n";
    fs::write(&file, format!("[cache.namespaces.{FAR}]\n{namespace}"))?;
    let file = file.to_str().context("the folder's name")?;
    let serve = ["--config", file, "serve", "cache"];
    let cache = Child::start(&plan.binary, &serve, &variables, log).await?;
    Ok((cache, folder))
}

/// Each kind of read, in turn with bare calls.
async fn read(
    report: &mut Report,
    plan: &Plan,
    args: &Args,
    (at, pid): (SocketAddr, u32),
) -> anyhow::Result<()> {
    let floor = floor::Server::start(plan, &["floor-echo"]).await?;
    for namespace in [NAMESPACE, FAR] {
        store_in(namespace, &channel(at).await?, KEYS, 100, None).await?;
    }
    let bench = Bench(args);
    for (kind, at, pid) in [(Kind::Near, at, pid), (Kind::Echo, floor.addr()?, floor.pid())] {
        bench.run(kind, at, pid, WARM_UP).await?;
    }
    let sides = [(Side::Ours, at, pid), (Side::Floor, floor.addr()?, floor.pid())];
    for round in 1..=plan.rounds(ROUNDS) {
        for kind in Kind::OURS {
            eprintln!("cache, round {round}: {kind:?}");
            bench.round(report, kind, sides).await?;
        }
    }
    floor.stop().await
}

struct Bench<'a>(&'a Args);

impl Bench<'_> {
    async fn round(
        &self,
        report: &mut Report,
        kind: Kind,
        sides: [(Side, SocketAddr, u32); 2],
    ) -> anyhow::Result<()> {
        let (time, name) = (Duration::from_secs(self.0.seconds), kind.name());
        for (side, at, pid) in sides {
            let is_ours = matches!(side, Side::Ours);
            let (kind, each) = if is_ours { (kind, kind.keys()) } else { (Kind::Echo, 1.0) };
            let load = self.run(kind, at, pid, time).await?;
            report.add(&format!("{name}: server CPU each"), "µs", side, load.cpu_us() / each);
            report.add(&format!("{name}: keys"), "1/s", side, load.rate() * each);
            load.latencies().report(report, side, &format!("{name}: call"));
        }
        Ok(())
    }

    async fn run(
        &self,
        kind: Kind,
        at: SocketAddr,
        pid: u32,
        time: Duration,
    ) -> anyhow::Result<Load> {
        let mut channels = Vec::new();
        for _ in 0..self.0.connections {
            channels.push(channel(at).await?);
        }
        let callers = channels.iter().cycle().take(self.0.callers as usize);
        let callers = callers.map(|channel| Reads { kind, channel: channel.clone() });
        Load::run(callers.collect(), time, || proc::cpu(pid)).await
    }
}

/// Stores so many values of so many bytes.
async fn store(
    channel: &Channel,
    count: usize,
    bytes: usize,
    tag: Option<&str>,
) -> anyhow::Result<()> {
    store_in(NAMESPACE, channel, count, bytes, tag).await
}

async fn store_in(
    namespace: &str,
    channel: &Channel,
    count: usize,
    bytes: usize,
    tag: Option<&str>,
) -> anyhow::Result<()> {
    let mut client = CacheServiceClient::new(channel.clone());
    for from in (0..count).step_by(STORED) {
        let entry = |n: usize| Entry {
            key: format!("{}{n}", tag.unwrap_or_default()),
            value: Some(Value { data: vec![b'x'; bytes], ..Value::default() }),
            tags: vec![tag.map_or_else(|| n.to_string(), str::to_owned)],
            ..Entry::default()
        };
        let entries = (from..count.min(from + STORED)).map(entry).collect();
        let request = SetManyRequest { namespace: namespace.to_owned(), entries };
        ensure!(!client.set_many(request).await?.into_inner().degraded, "not stored");
    }
    Ok(())
}

/// What voiding all of many values takes.
async fn invalidate(report: &mut Report, channel: &Channel, count: usize) -> anyhow::Result<()> {
    store(channel, count, 10, Some(TAG)).await?;
    let mut client = CacheServiceClient::new(channel.clone());
    for _ in 0..ROUNDS {
        let (namespace, tag) = (NAMESPACE.to_owned(), TAG.to_owned());
        let begun = Instant::now();
        let done = client.invalidate_tag(InvalidateTagRequest { namespace, tag }).await?;
        ensure!(done.into_inner().applied() == Applied::Done, "not voided");
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        report.add(&format!("InvalidateTag on {count} values"), "ms", Side::Ours, ms);
    }
    Ok(())
}

/// What a large text is kept as.
async fn keep(report: &mut Report, channel: &Channel) -> anyhow::Result<()> {
    let mut client = CacheServiceClient::new(channel.clone());
    let stats = StatsRequest { namespace: NAMESPACE.to_owned() };
    let mut kept = Vec::new();
    for is_stored in [false, true] {
        if is_stored {
            let value = Value { data: json(), ..Value::default() };
            let entry = Entry { key: "json".to_owned(), value: Some(value), ..Entry::default() };
            let (namespace, entry) = (NAMESPACE.to_owned(), Some(entry));
            client.set(SetRequest { namespace, entry, ..SetRequest::default() }).await?;
        }
        let stats = client.stats(stats.clone()).await?.into_inner().namespaces;
        kept.push(stats.first().map_or(0, |of| of.kept_bytes));
    }
    let bytes = (kept[1] - kept[0]) as f64;
    report.add(&format!("JSON of {JSON_BYTES} bytes is kept as"), "bytes", Side::Ours, bytes);
    Ok(())
}

/// Records of people who do not exist, no two of them alike.
fn json() -> Vec<u8> {
    let mut text = String::from("[");
    for n in 0.. {
        let (name, score) = (n * 7_919 % 10_007, n * 104_729 % 1_000_003);
        text += &format!(
            "{{\"id\":{n},\"name\":\"user {name}\",\"score\":{score},\"active\":{}}},",
            n % 3 == 0
        );
        if text.len() >= JSON_BYTES {
            break;
        }
    }
    text.truncate(JSON_BYTES);
    text.into_bytes()
}
