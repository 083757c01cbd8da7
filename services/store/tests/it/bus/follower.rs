//! Announcements as services use them: numbers are committed, then announced;
//! whoever is told of a gap reads what is committed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use mingle_store::bus::{Bus, Delivery};
use tokio::task::JoinHandle;

use super::reader::{PATIENCE, announcement};

/// The committed numbers: all below it.
#[derive(Clone, Default)]
pub(crate) struct Truth(Arc<AtomicU32>);

/// Commits and announces until it is told to stop.
pub(crate) struct Writer {
    task: JoinHandle<u32>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    pub(crate) fn start(bus: Arc<dyn Bus>, topic: &'static str, truth: &Truth) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (committed, end) = (truth.0.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut refused = 0;
            let mut pace = tokio::time::interval(Duration::from_millis(2));
            while !end.load(Ordering::SeqCst) {
                let n = committed.fetch_add(1, Ordering::SeqCst);
                refused += u32::from(bus.publish(&[announcement(topic, n)]).await.is_err());
                pace.tick().await;
            }
            refused
        });
        Self { task, stop }
    }

    /// The announcements that failed.
    pub(crate) async fn stop(self) -> u32 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

/// What a follower saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) live: u32,
    pub(crate) copies: u32,
    pub(crate) gaps: u32,
    pub(crate) read: u32,
}

/// Follows the numbers, and never asks for what it was not told to miss.
pub(crate) struct Follower {
    task: JoinHandle<Seen>,
}

impl Follower {
    /// Follows from number 0 until it has all below the end that is set.
    pub(crate) async fn start(
        bus: &Arc<dyn Bus>,
        topic: &str,
        truth: &Truth,
        end: Arc<AtomicU32>,
    ) -> Self {
        let mut subscription = bus.subscribe(topic).await.unwrap();
        let committed = truth.0.clone();
        let task = tokio::spawn(async move {
            let (mut next, mut early, mut seen) = (0, BTreeSet::new(), Seen::default());
            loop {
                let end = end.load(Ordering::SeqCst);
                if next >= end {
                    return seen;
                }
                match tokio::time::timeout(PATIENCE, subscription.recv()).await {
                    Ok(Some(Delivery::Gap)) => {
                        seen.gaps += 1;
                        let head = committed.load(Ordering::SeqCst);
                        seen.read += head.saturating_sub(next);
                        next = head.max(next);
                    }
                    Ok(Some(Delivery::Message(payload))) => {
                        let n: u32 = std::str::from_utf8(&payload).unwrap().parse().unwrap();
                        if n < next || !early.insert(n) {
                            seen.copies += 1;
                        }
                    }
                    Ok(None) => panic!("the bus ended"),
                    Err(_) => panic!("lost without a gap: {next} of {end}, {early:?}, {seen:?}"),
                }
                early.retain(|n| *n >= next);
                while early.remove(&next) {
                    next += 1;
                    seen.live += 1;
                }
            }
        });
        Self { task }
    }

    pub(crate) async fn end(self) -> Seen {
        self.task.await.unwrap()
    }
}

impl Truth {
    /// Commits all below `end`, if they are not.
    pub(crate) fn commit_to(&self, end: u32) {
        self.0.fetch_max(end, Ordering::SeqCst);
    }

    pub(crate) fn committed(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}
