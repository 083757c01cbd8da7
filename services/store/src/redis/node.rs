//! One server, by its two connections.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    manager::{Manager, Of},
    options::Terms,
    place::Place,
    slot::{FIRST, Slot},
};

/// Commands above this have a connection of their own, so that nobody waits
/// behind their bytes.
const LARGE: usize = 16 * 1024;

/// See the module. Its connections are kept until it is dropped.
pub(super) struct Node {
    host: String,
    commands: Arc<Slot>,
    values: Arc<Slot>,
    /// Ends the keepers.
    _keepers: DropGuard,
}

impl Node {
    /// Begins to connect.
    pub(super) fn start(place: Arc<Place>, of: Of, terms: Terms, stop: &CancellationToken) -> Self {
        let stop = stop.child_token();
        let host = place.host();
        let slot = |what| Arc::new(Slot::new(format!("{what} of {}", place.name()), terms.timeout));
        let (commands, values) = (slot("commands"), slot("values"));
        let slots = vec![commands.clone(), values.clone()];
        let manager = Manager::new(place, of, terms, slots.clone(), stop.clone());
        let pool = manager.pool();
        for slot in slots {
            tokio::spawn(slot.keep(pool.clone(), stop.clone()));
        }
        Self { host, commands, values, _keepers: stop.drop_guard() }
    }

    /// Waits until there is a connection, until the first attempt at one has failed,
    /// or for a second.
    pub(super) async fn begun(&self) {
        let first = Instant::now() + FIRST;
        // Without one the process begins all the same.
        let _ = tokio::join!(self.commands.link(first), self.values.link(first));
    }

    /// The slot for what is so many bytes.
    pub(super) fn slot(&self, size: usize) -> &Slot {
        if size > LARGE { &self.values } else { &self.commands }
    }

    /// Its name, of a server of a cluster.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The slot for commands.
    pub(super) fn commands(&self) -> &Slot {
        &self.commands
    }
}
