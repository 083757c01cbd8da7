//! One question at a time for each key, among the callers of one process.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

type Answer = Option<Arc<[u8]>>;

#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<String, watch::Receiver<Answer>>>);

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
                    Some(under_way) => under_way.clone(),
                    None => {
                        let (answer, under_way) = watch::channel(None);
                        all.insert(key.to_owned(), under_way);
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
        self.flights.0.lock().remove(&self.key);
    }
}
