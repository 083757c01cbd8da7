//! `versus-caches`: the same reads of bentocache, a library, and of Redis itself. The CPU
//! time of Mingle is that of its process; a library's is its caller's, too.

use std::time::Duration;

use anyhow::ensure;
use mingle_testkit as kit;
use redis::aio::MultiplexedConnection;

use super::{
    Args, Bench,
    reads::{KEYS, Kind},
    start, store,
};
use crate::{
    load::{Caller, Load},
    npm::{Did, Package, run},
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    system::{build, channel},
};

const ROUNDS: u32 = 3;
const BYTES: usize = 100;
const BENTOCACHE: Package = Package {
    package: include_str!("../../caches/package.json"),
    lock: include_str!("../../caches/package-lock.json"),
    script: include_str!("../../caches/read.mjs"),
};

/// Reads a value of Redis and nothing else.
#[derive(Clone)]
struct Bare(MultiplexedConnection);

impl Caller for Bare {
    async fn call(&mut self) -> anyhow::Result<()> {
        let key = format!("bare-{}", rand::random_range(0..KEYS));
        let value: Vec<u8> = redis::cmd("GET").arg(key).query_async(&mut self.0).await?;
        ensure!(value.len() == BYTES, "a value of {}", value.len());
        Ok(())
    }
}

/// Connections that have stored what they read.
async fn bare(redis: &kit::Redis) -> anyhow::Result<Bare> {
    let client = redis::Client::open(redis.root_url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut all = redis::pipe();
    for key in 0..KEYS {
        all.cmd("SET").arg(format!("bare-{key}")).arg(vec![b'x'; BYTES]).ignore();
    }
    all.query_async::<()>(&mut connection).await?;
    Ok(Bare(connection))
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("versus-caches", "no floors but other ways");
    settings::machine(&mut report);
    let Args { callers, seconds, .. } = args;
    report.set("load", format!("closed loop, {callers} callers, {KEYS} values of {BYTES} bytes"));
    let (redis, folder) = (kit::Redis::start().await, plan.data_folder()?);
    let (ours, _log) = start(plan, &redis).await?;
    let at = ours.addr("grpc")?;
    report.set("server", format!("{} ({})", build(at).await?, plan.binary.display()));
    report.set("bentocache", BENTOCACHE.install(folder.path()).await?);
    store(&channel(at).await?, KEYS, BYTES, None).await?;
    let (bench, bare) = (Bench(args), bare(&redis).await?);
    let time = Duration::from_secs(*seconds);
    for round in 1..=plan.rounds(ROUNDS) {
        for (kind, is_near) in [(Kind::Near, true), (Kind::Through, false)] {
            eprintln!("versus-caches, round {round}: {kind:?}");
            let did = Did::of(&bench.run(kind, at, ours.pid(), time).await?);
            let name = |who| format!("{}, {who}", kind.name());
            did.report(&mut report, Side::Ours, (&name("Mingle"), "reads"));
            let arguments = [*callers as usize, *seconds as usize, KEYS, BYTES, is_near.into()];
            let did = run(folder.path(), &redis, &arguments.map(|of| of.to_string())).await?;
            did.report(&mut report, Side::Floor, (&name("bentocache in process"), "reads"));
        }
        let callers = vec![bare.clone(); *callers as usize];
        let own = std::process::id();
        let did = Did::of(&Load::run(callers, time, || proc::cpu(own)).await?);
        did.report(&mut report, Side::Floor, ("GET of Redis, Rust in process", "reads"));
    }
    ours.stop().await?;
    Ok(report)
}
