//! Proofs of life, gathered from all streams of this process: while one batch
//! is on its way to the index the next gathers.

use std::sync::Arc;

use async_trait::async_trait;
use mingle_store::{
    Result,
    clock::Clock,
    commit::{Batch, Lanes, MAX_BATCH},
};

use crate::store::Index;

/// Notes proofs of life. Clones share the way to the index.
#[derive(Clone)]
pub(super) struct Proofs(Lanes<Noting>);

impl Proofs {
    /// Into `index`, with the time of `clock`.
    pub(super) fn start(index: Arc<dyn Index>, clock: Arc<dyn Clock>) -> Self {
        Self(Lanes::start(Arc::new(Noting { index, clock }), 1, MAX_BATCH))
    }

    /// Returns when they are noted. A failure is no error: an owner who is
    /// there proves it again in a few seconds, and until then is passed over.
    pub(super) async fn note(&self, ticket_ids: Vec<String>) {
        if ticket_ids.is_empty() {
            return;
        }
        if let Err(error) = self.0.submit("", ticket_ids).await {
            tracing::warn!(%error, "proofs of life not noted");
        }
    }
}

struct Noting {
    index: Arc<dyn Index>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Batch for Noting {
    type Item = Vec<String>;
    type Outcome = ();

    async fn run(&self, items: &[Vec<String>]) -> Result<Vec<()>> {
        self.index.alive(&items.concat(), self.clock.now_ms()).await?;
        Ok(vec![(); items.len()])
    }
}
