//! What the memory of one process is worth: a Zipf workload beside the optimal LFU on the
//! same trace; and what it costs beside its budget.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use mingle_proto::cache::v1::{
    GetManyRequest, GetRequest, NamespaceStats, Outcome, StatsRequest,
    cache_service_client::CacheServiceClient,
};
use tonic::transport::Channel;

use super::{Args, PATIENCE, store_in};
use crate::{
    child::Child,
    plan::Plan,
    proc,
    report::{Report, Side},
    system::channel,
};

/// The part of the keys that the memory has room for.
const PART: usize = 20;
/// Bytes of a value, and of what the memory counts for it with its key.
const BYTES: usize = 100;
const WEIGHT: usize = 560;
/// Reads for each key: to warm up, and to be counted. Of few the best memory by hindsight
/// owes much to chance: it has whoever of the rare keys was asked for twice.
const WARMING: usize = 2;
const COUNTED: usize = 10;
const CALLERS: usize = 64;
/// Keys of one call.
const MANY: usize = 1_000;
const NAMESPACE: &str = "zipf";
const LARGE: &str = "large";

/// Which keys are asked for, one after the other: the n-th of them with a probability
/// of 1/n.
fn trace(keys: usize, reads: usize) -> Vec<u32> {
    let mut sums = Vec::with_capacity(keys);
    let mut sum = 0.0;
    for n in 1..=keys {
        sum += 1.0 / n as f64;
        sums.push(sum);
    }
    let draw = || {
        let at = rand::random::<f64>() * sum;
        sums.partition_point(|below| *below < at).min(keys - 1) as u32
    };
    std::iter::repeat_with(draw).take(reads).collect()
}

/// The part of the reads that a memory of so many values answers which always has those
/// that are asked for most.
fn optimal(trace: &[u32], room: usize) -> f64 {
    let mut counts = HashMap::<u32, usize>::new();
    trace.iter().for_each(|key| *counts.entry(*key).or_default() += 1);
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
    counts.iter().take(room).sum::<usize>() as f64 / trace.len() as f64
}

/// A process of its own over the same Redis.
async fn start(
    plan: &Plan,
    folder: &Path,
    redis: &str,
    (room, budget): (usize, usize),
) -> anyhow::Result<Child> {
    let file = folder.join("zipf.toml");
    let namespace = |name, bytes| {
        format!(
            "[cache.namespaces.{name}]\nsoft = \"1h\"\nhard = \"1h\"\nearly = 0.0\n\
             local_bytes = {bytes}\n"
        )
    };
    fs::write(&file, namespace(NAMESPACE, room * WEIGHT) + &namespace(LARGE, budget))?;
    let file = file.to_str().context("the folder's name")?;
    let variables = [
        ("REDIS_URL", redis),
        ("MINGLE_GRPC__LISTEN", "127.0.0.1:0"),
        ("MINGLE_PROBES__LISTEN", "127.0.0.1:0"),
        PATIENCE,
    ];
    let log = ("mingle", folder.join("zipf.log"));
    Child::start(&plan.binary, &["--config", file, "serve", "cache"], &variables, log).await
}

async fn stats(channel: &Channel, namespace: &str) -> anyhow::Result<NamespaceStats> {
    let request = StatsRequest { namespace: namespace.to_owned() };
    let told = CacheServiceClient::new(channel.clone()).stats(request).await?.into_inner();
    told.namespaces.into_iter().next().context("no such namespace")
}

/// Reads all of these once, many at a time.
async fn read(channel: &Channel, trace: &Arc<[u32]>) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let reading = (0..CALLERS).map(|_| {
        let (mut client, trace) = (CacheServiceClient::new(channel.clone()), trace.clone());
        let next = next.clone();
        tokio::spawn(async move {
            while let Some(key) = trace.get(next.fetch_add(1, Relaxed)) {
                let (namespace, key) = (NAMESPACE.to_owned(), key.to_string());
                let without_lease = true;
                let get = GetRequest { namespace, key, without_lease, ..GetRequest::default() };
                let read = client.get(get).await?.into_inner();
                ensure!(read.outcome() == Outcome::Hit, "{:?}", read.outcome());
            }
            anyhow::Ok(())
        })
    });
    try_join_all(reading).await?.into_iter().collect()
}

/// Measures the hits of memory when it is warm, and what it costs.
pub(super) async fn measure(
    report: &mut Report,
    plan: &Plan,
    redis: &str,
    args: &Args,
) -> anyhow::Result<()> {
    let (keys, budget) = (args.keys, args.memory << 20);
    let (folder, room) = (plan.data_folder()?, keys / PART);
    let cache = start(plan, folder.path(), redis, (room, budget)).await?;
    let channel = channel(cache.addr("grpc")?).await?;
    eprintln!("cache: stores {keys} values");
    store_in(NAMESPACE, &channel, keys, BYTES, None).await?;
    let (warming, counted) = (trace(keys, WARMING * keys), trace(keys, COUNTED * keys));
    let best = optimal(&counted, room);
    let (warming, counted) = (Arc::from(warming), Arc::from(counted));
    eprintln!("cache: reads {} times", (WARMING + COUNTED) * keys);
    read(&channel, &warming).await?;
    let before = stats(&channel, NAMESPACE).await?;
    read(&channel, &counted).await?;
    let after = stats(&channel, NAMESPACE).await?;
    let (hits, reads) = (after.local_hits - before.local_hits, after.hits - before.hits);
    let ratio = hits as f64 / reads as f64 * 100.0;
    let name = format!("Zipf of {keys} keys, memory for {}: hits of memory", after.local_entries);
    report.add(&name, "%", Side::Ours, ratio);
    let name = format!("Zipf of {keys} keys, optimal LFU of {room}: hits");
    report.add(&name, "%", Side::Floor, best * 100.0);
    cost(report, &channel, cache.pid(), budget).await?;
    cache.stop().await
}

/// What the process grows by until its memory is full of values.
async fn cost(
    report: &mut Report,
    channel: &Channel,
    pid: u32,
    budget: usize,
) -> anyhow::Result<()> {
    let count = budget / WEIGHT * 5 / 4;
    store_in(LARGE, channel, count, BYTES, None).await?;
    let before = proc::resident(pid)?;
    let mut client = CacheServiceClient::new(channel.clone());
    for from in (0..count).step_by(MANY) {
        let keys = (from..count.min(from + MANY)).map(|n| n.to_string()).collect();
        let (namespace, without_lease) = (LARGE.to_owned(), true);
        let get = GetManyRequest { namespace, keys, without_lease, ..GetManyRequest::default() };
        client.get_many(get).await?;
    }
    let grown = proc::resident(pid)?.saturating_sub(before);
    let told = stats(channel, LARGE).await?;
    let name = format!("memory of {} values", told.local_entries);
    report.add(&format!("{name}, counted"), "MiB", Side::Ours, mib(told.local_bytes));
    report.add(&format!("{name}, resident"), "MiB", Side::Ours, mib(grown));
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
