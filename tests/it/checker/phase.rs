//! How far a run is, as its people are told.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use futures::future::join_all;
use mingle_testkit::eventually;
use tokio::{sync::watch, task::JoinHandle};

use super::{journal::Journal, person::Tally};
use crate::{ledger::Ledger, world::SOON};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) enum Phase {
    /// Everything happens.
    #[default]
    Run,
    /// Nothing is begun; whoever waits may still be matched.
    Settle,
    /// Nobody waits, and some are gone.
    Quiet,
    /// Those who are left hear up to these heads and are done.
    Done(Arc<BTreeMap<String, u64>>),
}

/// People who live at the same time.
pub(crate) struct Crowd {
    pub(crate) tally: Arc<Tally>,
    phase: watch::Sender<Phase>,
    living: Vec<JoinHandle<Journal>>,
}

impl Crowd {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        Self { tally: Arc::default(), phase: watch::Sender::default(), living: Vec::new() }
    }

    /// Somebody lives, as `life` does with the phase of the run.
    pub(crate) fn add<L>(&mut self, life: impl FnOnce(watch::Receiver<Phase>) -> L)
    where
        L: Future<Output = Journal> + Send + 'static,
    {
        self.living.push(tokio::spawn(life(self.phase.subscribe())));
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.living.len()
    }

    /// Tells them how far the run is.
    pub(crate) fn tell(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until all did the last thing they will do.
    pub(crate) async fn quiet(&self) {
        self.tell(Phase::Quiet);
        eventually(SOON * 3, "all are quiet", async || {
            self.tally.quiet.load(Relaxed) == self.living.len()
        })
        .await;
    }

    /// Lets them hear what there is, and takes their journals.
    pub(crate) async fn end(self, ledger: &Ledger) -> Vec<Journal> {
        self.quiet().await;
        self.tell(Phase::Done(Arc::new(ledger.heads().await)));
        join_all(self.living).await.into_iter().map(Result::unwrap).collect()
    }
}
