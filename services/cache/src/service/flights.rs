//! One question at a time for each key: who comes while it is asked shares the answer.

use std::{sync::Arc, time::Duration};

use ahash::RandomState;
use dashmap::{DashMap, Entry};
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::domain::Key;

/// What was asked longer ago may be answered with what was voided since: it is not shared.
const OLD: Duration = Duration::from_millis(200);

/// `None` of one that panicked.
type Flight<T> = Shared<BoxFuture<'static, Option<Arc<T>>>>;

pub(super) struct Flights<T> {
    under_way: Arc<DashMap<Key, (Instant, Flight<T>), RandomState>>,
}

impl<T: Send + Sync + 'static> Flights<T> {
    pub(super) fn new() -> Self {
        Self { under_way: Arc::default() }
    }

    /// The answer of who asks already, or of `ask`, which goes on when its caller leaves.
    pub(super) async fn join<F>(&self, key: &Key, ask: impl FnOnce() -> F) -> Option<Arc<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let flight = match self.under_way.entry(key.clone()) {
            Entry::Occupied(there) if there.get().0.elapsed() < OLD => there.get().1.clone(),
            place => {
                let begun = Instant::now();
                let (all, own, asking) = (self.under_way.clone(), key.clone(), ask());
                // In place: what is awaited in a block is in there twice.
                let asked = asking.map(move |answer| {
                    all.remove_if(&own, |_, (of, _)| *of == begun);
                    Arc::new(answer)
                });
                let task = tokio::spawn(asked.in_current_span());
                let flight = task.map(Result::ok).boxed().shared();
                place.insert((begun, flight.clone()));
                flight
            }
        };
        flight.await
    }

    /// What is asked by now may be answered with what was before a change: who comes
    /// from here on asks anew.
    pub(super) fn part(&self, key: &Key) {
        self.under_way.remove(key);
    }
}
