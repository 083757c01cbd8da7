//! Strangers who meet one after the other, as many in a second as they are let.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use mingle_testkit::{Deployment, eventually};

use crate::{
    checker::{self, Crowd, Person, Phase, Tally},
    ledger::Ledger,
    world::SOON,
};

/// See the module.
pub(super) struct Searchers {
    crowd: Crowd,
}

impl Searchers {
    /// So many, one half at each gateway, who look for somebody every `pace`.
    pub(super) fn start(deployment: &Deployment, many: usize, pace: Duration, seed: u64) -> Self {
        let gateways = deployment.gateways();
        let mut crowd = Crowd::new();
        for (at, seed) in (0..many).zip(seed..) {
            let gateway = gateways[at % gateways.len()];
            let name = format!("searcher-{at}");
            let person = Person::new(&name, vec![gateway], seed, crowd.tally.clone());
            crowd.add(|phase| checker::seek(person, pace, phase));
        }
        Self { crowd }
    }

    pub(super) fn tally(&self) -> Arc<Tally> {
        self.crowd.tally.clone()
    }

    /// Ends it: whoever was matched was told so, once, and nobody else is matched.
    /// Answers how many were.
    pub(super) async fn end(self, ledger: &Ledger) -> usize {
        self.crowd.tell(Phase::Settle);
        let tally = self.tally();
        eventually(SOON * 2, "those who are matched are told", async || {
            let matched = "select count(*) from mm_tickets \
                           where state = 'matched' and user_id like 'searcher-%'";
            let waiting = "select count(*) from mm_tickets where state = 'waiting'";
            let roomless = "select count(*) from mm_matches where room_id is null";
            tally.settled.load(Relaxed) == self.crowd.len()
                && ledger.count(waiting).await <= 1
                && ledger.count(roomless).await == 0
                && ledger.count(matched).await == tally.called.load(Relaxed) as i64
        })
        .await;
        let journals = self.crowd.end(ledger).await;
        let mut rows = ledger.rows().await;
        rows.rooms.clear();
        let verdict = checker::check(&journals, &rows);
        assert!(verdict.0.is_empty(), "{verdict}");
        tally.called.load(Relaxed)
    }
}
