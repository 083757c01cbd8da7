//! Closed-loop load: each caller calls again as soon as it is answered. Shows
//! what a server can do and what that costs; its latency is that of a server
//! with so many callers, not of one under a given rate.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::future::try_join_all;

use crate::{
    latency::Latencies,
    report::{Report, Side},
};

/// One of many that call at the same time.
pub(crate) trait Caller: Send + 'static {
    /// Calls once and waits for the answer.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What came of it.
pub(crate) struct Load {
    latencies: Arc<Latencies>,
    took: Duration,
    cpu: Duration,
}

impl Load {
    /// Has `callers` call for `time`; `cpu` is asked before the first and after
    /// the last call.
    pub(crate) async fn run<C: Caller>(
        callers: Vec<C>,
        time: Duration,
        cpu: impl Fn() -> anyhow::Result<Duration>,
    ) -> anyhow::Result<Self> {
        let latencies = Arc::new(Latencies::new()?);
        let (start, cpu_before) = (Instant::now(), cpu()?);
        let calling = callers
            .into_iter()
            .map(|caller| tokio::spawn(repeat(caller, start + time, latencies.clone())));
        for called in try_join_all(calling).await.context("a caller failed")? {
            called?;
        }
        let took = start.elapsed();
        Ok(Self { latencies, took, cpu: cpu()?.saturating_sub(cpu_before) })
    }

    /// Calls a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.took.as_secs_f64()
    }

    /// CPU time of one call in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.latencies.count() as f64
    }

    /// How long each took.
    pub(crate) fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Adds what a server did and what each of its `unit`s cost.
    pub(crate) fn report(
        &self,
        report: &mut Report,
        side: Side,
        (name, unit): (&str, &'static str),
    ) {
        report.add(&format!("{name}: server CPU each"), "µs", side, self.cpu_us());
        report.add(&format!("{name}: throughput"), unit, side, self.rate());
        self.latencies.report(report, side, &format!("{name}: latency"));
    }
}

async fn repeat<C: Caller>(
    mut caller: C,
    until: Instant,
    latencies: Arc<Latencies>,
) -> anyhow::Result<()> {
    let mut now = Instant::now();
    while now < until {
        caller.call().await?;
        let answered = Instant::now();
        latencies.record(answered - now);
        now = answered;
    }
    Ok(())
}
