//! At a rate that a server bears: how long an answer takes then.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};

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
    // Ends when the last that was asked is answered.
    let (failing, mut failed) = mpsc::unbounded_channel();
    let (recorded, places) = (latencies.clone(), Arc::new(Semaphore::new(IN_FLIGHT)));
    let issuing = schedule.run(move |index| {
        let mut asks = asks[index as usize % asks.len()].clone();
        let (latencies, places, failing) = (recorded.clone(), places.clone(), failing.clone());
        runtime.spawn(async move {
            let _place = places.acquire().await;
            let called = asks.call().await;
            latencies.record(schedule.since(index));
            if let Err(error) = called {
                // Whoever reads them is there until the last.
                let _ = failing.send(error);
            }
        });
    });
    issuing.await?;
    match failed.recv().await {
        Some(error) => Err(error),
        None => Ok(latencies),
    }
}
