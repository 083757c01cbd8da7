//! A subscriber as services are: it knows positions, so a copy is no news.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mingle_store::bus::{Announcement, Bus, Delivery, Subscription};

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Number `n` on `topic`.
pub(crate) fn announcement(topic: &str, n: u32) -> Announcement {
    Announcement::new(topic, n.to_string())
}

/// Publishes `numbers` on `topic` in one batch.
pub(crate) async fn publish(bus: &Arc<dyn Bus>, topic: &str, numbers: std::ops::Range<u32>) {
    let batch: Vec<_> = numbers.map(|n| announcement(topic, n)).collect();
    bus.publish(&batch).await.unwrap();
}

/// The payload of the next message; a gap fails the test.
pub(crate) async fn message(subscription: &mut Subscription) -> bytes::Bytes {
    let next = tokio::time::timeout(PATIENCE, subscription.recv()).await;
    match next.expect("a message in time").expect("a bus") {
        Delivery::Message(payload) => payload,
        Delivery::Gap => panic!("a gap where nothing was lost"),
    }
}

/// What is heard may come back before what is published on.
pub(crate) async fn publish_when_possible(bus: &Arc<dyn Bus>, topic: &str, n: u32) {
    mingle_testkit::eventually(PATIENCE, "a server to take it", async || {
        bus.publish(&[announcement(topic, n)]).await.is_ok()
    })
    .await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Number(u32),
    Gap,
}

pub(crate) struct Reader {
    subscription: Subscription,
    seen: HashSet<u32>,
}

impl Reader {
    pub(crate) async fn of(bus: &Arc<dyn Bus>, topic: &str) -> Self {
        let subscribed = tokio::time::timeout(PATIENCE, bus.subscribe(topic)).await;
        let subscription = subscribed.expect("a bounded wait").unwrap();
        Self { subscription, seen: HashSet::new() }
    }

    /// The next delivery that is no copy of an earlier one.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.subscription.recv()).await;
            match next.expect("news in time").expect("a bus") {
                Delivery::Gap => return News::Gap,
                Delivery::Message(payload) => {
                    let n = std::str::from_utf8(&payload).unwrap().parse().unwrap();
                    if self.seen.insert(n) {
                        return News::Number(n);
                    }
                }
            }
        }
    }

    /// Reads exactly `numbers`, in order, without a gap.
    pub(crate) async fn expect(&mut self, numbers: std::ops::Range<u32>) {
        for n in numbers {
            assert_eq!(self.next().await, News::Number(n));
        }
    }

    /// Reads up to a gap and returns the numbers before it.
    pub(crate) async fn until_gap(&mut self) -> Vec<u32> {
        let mut numbers = Vec::new();
        loop {
            match self.next().await {
                News::Gap => return numbers,
                News::Number(n) => numbers.push(n),
            }
        }
    }

    /// Reads up to `wanted` or up to a gap, and returns how many came before.
    pub(crate) async fn until_gap_or(&mut self, wanted: u32) -> usize {
        let mut before = 0;
        loop {
            match self.next().await {
                News::Gap => return before,
                News::Number(n) if n == wanted => return before,
                News::Number(_) => before += 1,
            }
        }
    }

    /// Reads up to `wanted`, over gaps, and returns how many there were.
    pub(crate) async fn until(&mut self, wanted: u32) -> usize {
        let mut gaps = 0;
        loop {
            match self.next().await {
                News::Gap => gaps += 1,
                News::Number(n) if n == wanted => return gaps,
                News::Number(_) => {}
            }
        }
    }
}
