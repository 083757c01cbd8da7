//! One question at a time for each key, among the callers of one process.
//!
//! What is under way may have been read before something changed: so nobody joins it for
//! longer than the service itself serves what is void, nor after a change by this process.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// Who comes later asks by itself: the service lets it wait for the same load.
const JOINED: Duration = Duration::from_secs(1);

type Answer = Option<Arc<[u8]>>;

#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<String, Flight>>);

struct Flight {
    begun: Instant,
    under_way: watch::Receiver<Answer>,
}

/// Who asks.
pub(super) enum Turn<'a> {
    /// Another one has, and this is the answer, as it is stored.
    Shared(Arc<[u8]>),
    /// Who came first, or after one that found nothing.
    Own(Own<'a>),
}

/// Dropped without an answer, the next one asks.
pub(super) struct Own<'a> {
    flights: &'a Flights,
    key: String,
    answer: watch::Sender<Answer>,
}

impl Flights {
    pub(super) async fn join(&self, key: &str) -> Turn<'_> {
        loop {
            let mut under_way = {
                let mut all = self.0.lock();
                match all.get(key) {
                    Some(flight) if flight.begun.elapsed() < JOINED => flight.under_way.clone(),
                    _ => {
                        let (answer, under_way) = watch::channel(None);
                        all.insert(key.to_owned(), Flight { begun: Instant::now(), under_way });
                        return Turn::Own(Own { flights: self, key: key.to_owned(), answer });
                    }
                }
            };
            if let Ok(answer) = under_way.wait_for(Option::is_some).await
                && let Some(answer) = &*answer
            {
                return Turn::Shared(answer.clone());
            }
        }
    }
}

impl Flights {
    /// Nobody joins what is under way for this key, or for any.
    pub(super) fn part(&self, key: Option<&str>) {
        let mut all = self.0.lock();
        match key {
            Some(key) => drop(all.remove(key)),
            None => all.clear(),
        }
    }
}

impl Own<'_> {
    /// Answers those who came meanwhile; `value` is made if there are any.
    pub(super) fn share(&self, value: impl FnOnce() -> Vec<u8>) {
        // One is that of the table.
        if self.answer.receiver_count() > 1 {
            self.answer.send_replace(Some(value().into()));
        }
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        let mut all = self.flights.0.lock();
        let own = self.answer.subscribe();
        // Another one may have taken its place.
        if all.get(&self.key).is_some_and(|flight| flight.under_way.same_channel(&own)) {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_began_long_ago_is_not_joined() {
        let flights = Flights::default();
        let Turn::Own(first) = flights.join("a").await else { panic!("nobody else asks") };
        tokio::time::advance(JOINED).await;
        let Turn::Own(second) = flights.join("a").await else { panic!("it may be old") };
        drop(first);
        let (third, ()) = tokio::join!(flights.join("a"), async {
            tokio::task::yield_now().await;
            second.share(|| b"2".to_vec());
        });
        assert!(matches!(third, Turn::Shared(value) if *value == *b"2"));
        flights.part(None);
        assert!(matches!(flights.join("a").await, Turn::Own(_)), "something has changed");
    }
}
