//! Every socket of this process: to close one, to tell all.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;

use crate::outbox::{Closing, Entry, Event, Outbox};

/// The sockets, by an id that is unique in this process.
#[derive(Default)]
pub(crate) struct Sockets {
    all: DashMap<u64, Arc<Outbox>>,
    next_id: AtomicU64,
}

/// Keeps a socket registered while it lives.
pub(crate) struct Registered {
    sockets: Arc<Sockets>,
    /// The socket's id.
    pub id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sockets.all.remove(&self.id);
        metrics::gauge!("mingle_gateway_sockets").decrement(1.0);
    }
}

impl Sockets {
    /// Registers a socket.
    pub(crate) fn register(self: &Arc<Self>, outbox: Arc<Outbox>) -> Registered {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.all.insert(id, outbox);
        metrics::gauge!("mingle_gateway_sockets").increment(1.0);
        Registered { sockets: self.clone(), id }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Tells every socket.
    pub(crate) fn broadcast(&self, event: &Arc<Event>) {
        for socket in &self.all {
            socket.push(Entry::Event(event.clone()));
        }
    }

    /// The sockets now.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Outbox>> {
        self.all.iter().map(|socket| socket.value().clone()).collect()
    }

    /// True when one is about to be closed, or was.
    pub(crate) fn has_ended(&self, id: u64) -> bool {
        self.all.get(&id).is_some_and(|socket| socket.closing().is_some())
    }

    /// Closes one, if it is still there.
    pub(crate) fn close(&self, id: u64, closing: Closing) {
        if let Some(socket) = self.all.get(&id) {
            socket.close(closing);
        }
    }
}
