//! At a rate that a server bears: how long an answer takes then.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Semaphore, task::JoinSet};

use super::asks::Asks;
use crate::{
    latency::Latencies,
    load::Caller as _,
    pace::{Rate, Schedule},
};

/// Calls in flight at most: a server refuses those beyond its own bound. Who waits for a
/// place waits from when the call was due, too.
const IN_FLIGHT: usize = 2_048;

/// Asks at a rate, each when it is due; answers how long after that each was answered.
pub(super) async fn run(
    asks: Vec<Asks>,
    rate: u32,
    time: Duration,
) -> anyhow::Result<Arc<Latencies>> {
    let latencies = Arc::new(Latencies::new()?);
    let (schedule, runtime) = {
        let count = (f64::from(rate) * time.as_secs_f64()) as u64;
        (Schedule::new(Rate { rate, count }), Handle::current())
    };
    let (sender, mut called) = tokio::sync::mpsc::unbounded_channel();
    let recorded = latencies.clone();
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let issuing = schedule.run(move |index| {
        let mut asks = asks[index as usize % asks.len()].clone();
        let (latencies, places) = (recorded.clone(), places.clone());
        let call = runtime.spawn(async move {
            let _place = places.acquire().await?;
            let called = asks.call().await;
            latencies.record(schedule.since(index));
            called
        });
        // Whoever waits for it is there until the last.
        let _ = sender.send(call);
    });
    let waiting = async {
        let mut all = JoinSet::new();
        while let Some(call) = called.recv().await {
            all.spawn(call);
        }
        for call in all.join_all().await {
            call??;
        }
        anyhow::Ok(())
    };
    let (issued, waited) = tokio::join!(issuing, waiting);
    issued?;
    waited?;
    Ok(latencies)
}
