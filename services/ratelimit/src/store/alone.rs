//! What one process decides while nobody can count together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use mingle_store::clock::Clock;

use super::memory::{Back, Bounds, Memory};
use crate::domain::{Answer, Ask, Charged, Limit, Outage, Source, Standing, Verdict};

/// When to come again while nobody counts and all is denied.
const CLOSED_US: u64 = 1_000_000;

/// Decides by the outage policy of each limit: `open` admits, `closed` denies
/// (a shadow limit never does), and `local` counts this process's share in
/// memory, beginning with what is known of the time before.
///
/// **Guarantees**: of a `local` limit this process admits at most its share in
/// any window, what it [noted](Self::note) included.
pub(super) struct Alone {
    memory: Memory,
    nodes: AtomicU64,
}

impl Alone {
    /// Knows of no other process yet.
    pub(super) fn new(clock: Arc<dyn Clock>, bounds: Bounds) -> Self {
        Self { memory: Memory::new(clock, bounds), nodes: AtomicU64::new(1) }
    }

    /// Shares the limits with as many processes, this one included.
    pub(super) fn share(&self, nodes: u64) {
        self.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    /// So many share the limits.
    pub(super) fn shared_by(&self) -> u64 {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Takes note of what was counted together.
    pub(super) fn note(&self, ask: &Ask, answer: &Answer) {
        if answer.verdict.is_allowed()
            && let Some(local) = self.local(ask)
        {
            // What is found made was charged by another process, or noted already.
            if answer.verdict == Verdict::Allowed || local.is_lease() {
                self.memory.note(&local);
            } else {
                self.memory.mark_repeated(&local);
            }
        }
    }

    /// Charges an ask, or tells what charging it would say.
    pub(super) fn decide(&self, ask: &Ask, charges: bool) -> Answer {
        let is_closed = |limit: &&Arc<Limit>| limit.outage == Outage::Closed && !limit.shadow;
        let closed = ask.limits.iter().any(|limit| is_closed(&limit));
        let counted = self.local(ask).map(|local| match closed || !charges {
            true => self.memory.judge(&local),
            false => self.memory.charge(&local),
        });
        let source = Source::Alone(self.shared_by());
        let (verdict, standings) =
            counted.map_or((Verdict::Allowed, Vec::new()), |it| (it.verdict, it.standings));
        if verdict == Verdict::Reused {
            return Answer { source, ..Answer::new(verdict, Vec::new()) };
        }
        let mut counted = standings.into_iter();
        let standing = |limit: &Arc<Limit>| match limit.outage {
            // One for each limit that is counted here, in their order.
            Outage::Local => counted.next().unwrap_or_else(|| open(limit)),
            Outage::Open => open(limit),
            Outage::Closed => shut(),
        };
        let standings = ask.limits.iter().map(standing).collect();
        let verdict = if closed { Verdict::Denied } else { verdict };
        Answer { source, ..Answer::new(verdict, standings) }
    }

    /// Gives back what is counted here.
    pub(super) fn give_back(&self, charge: Charged<'_>) -> Back {
        self.memory.give_back(charge)
    }

    /// Forgets what a subject used of these limits.
    pub(super) fn forget(&self, subject: &str, limits: &[Arc<Limit>]) {
        self.memory.forget(subject, limits);
    }

    /// The part of an ask that is counted here, if there is one.
    fn local(&self, ask: &Ask) -> Option<Ask> {
        let nodes = self.shared_by();
        let local = ask.limits.iter().filter(|limit| limit.outage == Outage::Local);
        let limits: Vec<_> = local.map(|limit| Arc::new(limit.part_of(nodes))).collect();
        (!limits.is_empty()).then(|| Ask {
            subject: ask.subject.clone(),
            charge_id: ask.charge_id.clone(),
            is_new: ask.is_new,
            cost: ask.cost,
            limits,
        })
    }
}

fn open(limit: &Limit) -> Standing {
    Standing { allowed: true, remaining: limit.quota, retry_us: 0, reset_us: 0 }
}

fn shut() -> Standing {
    Standing { allowed: false, remaining: 0, retry_us: CLOSED_US, reset_us: CLOSED_US }
}
