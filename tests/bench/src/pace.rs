//! Open-loop load: requests are due at fixed times, whatever became of those
//! before. Latency is counted from then, so that a server that stalls, or a
//! generator that is late, is not flattered (coordinated omission).

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};

use crate::latency::Latencies;

/// Time for the sockets' tasks to be scheduled before the first request.
const LEAD: Duration = Duration::from_millis(50);

/// How many requests, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// A second.
    pub(crate) rate: u32,
    /// In all.
    pub(crate) count: u64,
}

/// When each request is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    rate: u32,
    count: u64,
}

impl Schedule {
    /// Beginning now.
    pub(crate) fn new(Rate { rate, count }: Rate) -> Self {
        Self { start: Instant::now() + LEAD, rate, count }
    }

    /// When request `index` is due.
    pub(crate) fn due(&self, index: u64) -> Instant {
        self.start + Duration::from_secs_f64(index as f64 / f64::from(self.rate))
    }

    /// How long after it was due it is now.
    pub(crate) fn since(&self, index: u64) -> Duration {
        Instant::now().saturating_duration_since(self.due(index))
    }

    /// Calls `issue` for each request when it is due and answers how late that
    /// was. On a thread of its own: the timer of the runtime counts in
    /// milliseconds. `issue` may block; those after it are late then, which
    /// their latency shows.
    pub(crate) async fn run(
        self,
        mut issue: impl FnMut(u64) + Send + 'static,
    ) -> anyhow::Result<Arc<Latencies>> {
        let late = Arc::new(Latencies::new()?);
        let recorded = late.clone();
        let pacing = tokio::task::spawn_blocking(move || {
            for index in 0..self.count {
                thread::sleep(self.due(index).saturating_duration_since(Instant::now()));
                recorded.record(self.since(index));
                issue(index);
            }
        });
        pacing.await.map_err(|error| anyhow!(error)).context("the load generator failed")?;
        Ok(late)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::{Rate, Schedule};

    #[test]
    fn requests_are_due_at_the_rate() {
        let schedule = Schedule::new(Rate { rate: 200, count: 10 });
        assert_eq!(schedule.due(0), schedule.start);
        assert_eq!(schedule.due(7) - schedule.start, Duration::from_millis(35));
        assert_eq!(schedule.due(400) - schedule.start, Duration::from_secs(2));
    }

    #[tokio::test]
    async fn each_is_issued_once_and_never_early() {
        let schedule = Schedule::new(Rate { rate: 1000, count: 20 });
        let (sender, issued) = mpsc::channel();
        let run =
            schedule.run(move |index| sender.send((index, std::time::Instant::now())).unwrap());
        assert_eq!(run.await.unwrap().count(), 20);
        let issued: Vec<_> = issued.iter().collect();
        assert_eq!(
            issued.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
            (0..20).collect::<Vec<_>>()
        );
        assert!(issued.iter().all(|(index, at)| *at >= schedule.due(*index)));
    }
}
