//! Which life of the server's data this is.

use std::{
    collections::VecDeque,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use redis::{Cmd, Pipeline, RedisResult};
use tokio::sync::watch;
use tracing::info;

use super::{client::key, cluster::hash, patient::Patient};

/// Generations that are known to be replaced.
const REPLACED: usize = 8;
const COMPARE: &str = include_str!("lua/fence.lua");

/// Names one uninterrupted life of the server's data. Another generation than
/// before: nothing read from the server before may be believed, and nothing
/// that should be there may be taken for gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation(String);

impl Generation {
    /// As it is stored: 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn random() -> String {
        format!("{:032x}", rand::random::<u128>())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the fence is to know of a server.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) field: String,
    /// What stays the same as long as its data.
    pub(super) is: String,
    /// One that is not known yet has lost nothing.
    pub(super) joins: bool,
}

/// The generation that this process goes by.
pub(super) struct Fence {
    key: String,
    /// `host:port`, for the log.
    server: String,
    held: watch::Sender<Option<Generation>>,
    /// How often another one was begun to go by.
    changes: AtomicU64,
    /// Those that were held before, the last ones.
    replaced: Mutex<VecDeque<Generation>>,
}

impl Fence {
    pub(super) fn new(prefix: &str, server: String) -> Self {
        let (held, replaced) = (watch::Sender::new(None), Mutex::default());
        let key = key(prefix, "{fence}");
        Self { key, server, held, changes: AtomicU64::new(0), replaced }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Generation>> {
        self.held.subscribe()
    }

    /// Where the fence is, in a cluster.
    pub(super) fn slot(&self) -> u16 {
        hash::slot(self.key.as_bytes())
    }

    /// Compares on a connection to the one server. It writes: a server that refuses
    /// writes refuses this.
    pub(super) async fn pass(&self, connection: &mut Patient, run_id: &str) -> RedisResult<()> {
        let (field, is) = ("run_id".to_owned(), run_id.to_owned());
        let compare = self.compare(&[Identity { field, is, joins: false }]);
        self.hold(compare.query_async(connection).await?);
        Ok(())
    }

    /// What compares some servers, and answers the generation.
    pub(super) fn compare(&self, servers: &[Identity]) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(COMPARE).arg(1).arg(&self.key).arg(Generation::random());
        for Identity { field, is, joins } in servers {
            cmd.arg(field).arg(is).arg(joins);
        }
        cmd
    }

    /// A write, and the generation that is there: `None` when the data was
    /// taken away.
    pub(super) fn pulse(&self, pipe: &mut Pipeline) {
        pipe.cmd("HSET").arg(&self.key).arg("pulse").arg(1);
        self.read(pipe);
    }

    /// The generation that is there.
    pub(super) fn read(&self, pipe: &mut Pipeline) {
        pipe.cmd("HGET").arg(&self.key).arg("generation");
    }

    /// Goes by what an old connection shows. False when a new one has shown
    /// something else since: then the old one leads to a server that was replaced
    /// and lives on, and going by both in turn would never end.
    pub(super) fn confirms(&self, generation: &str) -> bool {
        let replaced = |of: &Generation| of.as_str() == generation;
        if self.replaced.lock().iter().any(replaced) {
            return false;
        }
        self.hold(generation.to_owned());
        true
    }

    /// Grows with each generation that this process goes by: what was asked before it
    /// grew says nothing any more.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Goes by what is there.
    pub(super) fn hold(&self, generation: String) {
        let generation = Generation(generation);
        self.held.send_if_modified(|held| {
            let new = held.as_ref() != Some(&generation);
            if new {
                self.changes.fetch_add(1, Ordering::Release);
                info!(server = self.server, %generation, "redis data of this generation");
                let mut replaced = self.replaced.lock();
                replaced.retain(|replaced| *replaced != generation);
                replaced.extend(held.replace(generation));
                let beyond = replaced.len().saturating_sub(REPLACED);
                replaced.drain(..beyond);
            }
            new
        });
    }
}
