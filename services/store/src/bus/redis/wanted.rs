//! Which topics the server should tell of, and of which it said it will.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use crate::bus::topics::Topics;

/// Topics whose first subscriber came or whose last left, while there is a
/// connection that follows them: the next one asks for all there are.
#[derive(Default)]
pub(in crate::bus) struct Changes {
    followed: Mutex<Option<HashSet<String>>>,
    wake: Notify,
}

impl Changes {
    /// Something about `topic` changed.
    pub(in crate::bus) fn note(&self, topic: &str) {
        if let Some(topics) = &mut *self.followed.lock() {
            topics.insert(topic.to_owned());
            self.wake.notify_one();
        }
    }

    /// Waits for the next change. Cancel safe.
    pub(super) async fn next(&self) {
        self.wake.notified().await;
    }
}

#[derive(Default)]
struct State {
    /// Asked of the server on the connection there is.
    asked: HashSet<String>,
    confirmed: HashSet<String>,
    waiting: HashMap<String, Vec<oneshot::Sender<()>>>,
    /// Topics whose subscriber went on without a confirmation.
    promised: HashSet<String>,
}

/// A batch of what to ask for and what to ask for no more.
#[derive(Default)]
pub(super) struct Difference {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
}

/// The subscriptions of the listening connection.
pub(super) struct Wanted {
    topics: Arc<Topics>,
    pub(super) changes: Arc<Changes>,
    state: Mutex<State>,
}

impl Wanted {
    pub(super) fn new(topics: Arc<Topics>, changes: Arc<Changes>) -> Self {
        Self { topics, changes, state: Mutex::default() }
    }

    /// A new connection: everything that is wanted must be asked for.
    pub(super) fn begin(&self) -> Vec<String> {
        let mut state = self.state.lock();
        *self.changes.followed.lock() = Some(HashSet::new());
        // Some were waited for by subscribers who left meanwhile.
        state.waiting.retain(|_, waiting| {
            waiting.retain(|waiting| !waiting.is_closed());
            !waiting.is_empty()
        });
        // Read after changes are noted: whoever is not in the table yet will
        // be, and whoever is will be told of a gap when the connection listens.
        state.asked = self.topics.wanted().into_iter().collect();
        state.asked.iter().cloned().collect()
    }

    /// The connection is lost.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        *self.changes.followed.lock() = None;
        state.asked.clear();
        state.confirmed.clear();
        state.promised.clear();
    }

    /// What changed since the last look.
    pub(super) fn difference(&self) -> Difference {
        let mut state = self.state.lock();
        let changed = self.changes.followed.lock().as_mut().map(std::mem::take);
        let mut difference = Difference::default();
        for topic in changed.into_iter().flatten() {
            // Under the lock under which subscribers look for a confirmation:
            // who found one is in the table already.
            if self.topics.is_wanted(&topic) {
                if state.asked.insert(topic.clone()) {
                    difference.added.push(topic);
                }
            } else {
                // Its subscribers have left, those who waited for it too.
                state.waiting.remove(&topic);
                if state.asked.remove(&topic) {
                    state.confirmed.remove(&topic);
                    state.promised.remove(&topic);
                    difference.removed.push(topic);
                }
            }
        }
        difference
    }

    /// The server has confirmed `topics`.
    pub(super) fn confirm(&self, topics: &[String]) {
        let mut state = self.state.lock();
        for topic in topics {
            if !state.asked.contains(topic) {
                continue;
            }
            state.confirmed.insert(topic.clone());
            if state.promised.remove(topic) {
                self.topics.gap(topic);
            }
            for waiting in state.waiting.remove(topic).into_iter().flatten() {
                // Who is gone by now needs nothing more.
                let _ = waiting.send(());
            }
        }
    }

    /// The server tells of it no more: a gap follows with the next confirmation.
    pub(super) fn unconfirm(&self, topic: &str) {
        let mut state = self.state.lock();
        if state.confirmed.remove(topic) {
            state.promised.insert(topic.to_owned());
        }
    }

    /// Waits for the confirmation of a topic that is subscribed to here. When
    /// it does not come in time, a gap follows with it.
    pub(super) async fn confirmed(&self, topic: &str, patience: Duration) {
        let confirmed = {
            let mut state = self.state.lock();
            if state.confirmed.contains(topic) {
                return;
            }
            let (waiting, confirmed) = oneshot::channel();
            state.waiting.entry(topic.to_owned()).or_default().push(waiting);
            confirmed
        };
        if timeout(patience, confirmed).await.is_ok() {
            return;
        }
        let mut state = self.state.lock();
        if let Some(waiting) = state.waiting.get_mut(topic) {
            waiting.retain(|waiting| !waiting.is_closed());
            if waiting.is_empty() {
                state.waiting.remove(topic);
            }
        }
        if state.confirmed.contains(topic) {
            // It came between the two: what was published before is lost.
            self.topics.gap(topic);
        } else if self.changes.followed.lock().is_some() {
            state.promised.insert(topic.to_owned());
        }
    }
}
