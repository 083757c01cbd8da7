//! Which life of the server's data this is.

use std::{collections::VecDeque, fmt};

use parking_lot::Mutex;
use redis::{Pipeline, RedisResult, aio::MultiplexedConnection};
use tokio::sync::watch;
use tracing::info;

use super::client::key;

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

    fn random() -> String {
        format!("{:032x}", rand::random::<u128>())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The generation that this process goes by.
pub(super) struct Fence {
    key: String,
    /// `host:port`, for the log.
    server: String,
    held: watch::Sender<Option<Generation>>,
    /// Those that were held before, the last ones.
    replaced: Mutex<VecDeque<Generation>>,
}

impl Fence {
    pub(super) fn new(prefix: &str, server: String) -> Self {
        let (held, replaced) = (watch::Sender::new(None), Mutex::default());
        Self { key: key(prefix, "fence", None), server, held, replaced }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Generation>> {
        self.held.subscribe()
    }

    /// Compares on a connection to the server of this run id. It writes: a
    /// server that refuses writes refuses this.
    pub(super) async fn compare(
        &self,
        connection: &mut MultiplexedConnection,
        run_id: &str,
    ) -> RedisResult<()> {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(COMPARE).arg(1).arg(&self.key).arg(run_id).arg(Generation::random());
        let generation = cmd.query_async(connection).await?;
        self.hold(Generation(generation));
        Ok(())
    }

    /// A write, and the generation that is there: `None` when the data was
    /// taken away.
    pub(super) fn pulse(&self, pipe: &mut Pipeline) {
        pipe.cmd("HSET").arg(&self.key).arg("pulse").arg(1).ignore();
        pipe.cmd("HGET").arg(&self.key).arg("generation");
    }

    /// Goes by what an old connection shows. False when a new one has shown
    /// something else since: then the old one leads to a server that was replaced
    /// and lives on, and going by both in turn would never end.
    pub(super) fn confirms(&self, generation: &str) -> bool {
        let generation = Generation(generation.to_owned());
        if self.replaced.lock().contains(&generation) {
            return false;
        }
        self.hold(generation);
        true
    }

    /// Goes by what is there.
    fn hold(&self, generation: Generation) {
        self.held.send_if_modified(|held| {
            let new = held.as_ref() != Some(&generation);
            if new {
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
