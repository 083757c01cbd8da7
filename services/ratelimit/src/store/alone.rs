//! What one process decides while nobody can count together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use mingle_store::clock::Clock;

use super::memory::{Back, Bounds, Memory};
use crate::domain::{Answer, Ask, Limit, Limits, Outage, Standing, Verdict};

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
    whole: Limits,
    nodes: AtomicU64,
}

impl Alone {
    /// Knows of no other process yet.
    pub(super) fn new(clock: Arc<dyn Clock>, limits: Limits, bounds: Bounds) -> Self {
        let memory = Memory::new(clock, limits.clone(), bounds);
        Self { memory, whole: limits, nodes: AtomicU64::new(1) }
    }

    /// Shares the limits with as many processes, this one included.
    pub(super) fn share(&self, nodes: u64) {
        let nodes = nodes.max(1);
        if self.nodes.swap(nodes, Ordering::Relaxed) != nodes {
            let part = |(name, limit): (&String, &Arc<Limit>)| {
                (name.clone(), Arc::new(limit.part_of(nodes)))
            };
            self.memory.set_limits(self.whole.iter().map(part).collect());
        }
    }

    /// Takes note of what was counted together.
    pub(super) fn note(&self, ask: &Ask, answer: &Answer) {
        if answer.verdict.is_allowed()
            && let Some(local) = self.local(ask)
        {
            match answer.verdict {
                Verdict::Allowed => self.memory.note(&local),
                // Charged by another process, or noted already.
                _ => self.memory.mark_repeated(&local),
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
        let alone_of = Some(self.nodes.load(Ordering::Relaxed));
        let (verdict, standings) =
            counted.map_or((Verdict::Allowed, Vec::new()), |it| (it.verdict, it.standings));
        if verdict == Verdict::Reused {
            return Answer { alone_of, ..Answer::new(verdict, Vec::new()) };
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
        Answer { alone_of, ..Answer::new(verdict, standings) }
    }

    /// Gives back what is counted here.
    pub(super) fn give_back(&self, subject: &str, charge: (&str, bool)) -> Back {
        self.memory.give_back(subject, charge)
    }

    /// Forgets what a subject used of these limits.
    pub(super) fn forget(&self, subject: &str, limits: &[Arc<Limit>]) {
        self.memory.forget(subject, limits);
    }

    /// The part of an ask that is counted here, if there is one.
    fn local(&self, ask: &Ask) -> Option<Ask> {
        let parts = self.memory.limits();
        let local = ask.limits.iter().filter(|limit| limit.outage == Outage::Local);
        let limits: Vec<_> = local.filter_map(|limit| parts.get(&*limit.name).cloned()).collect();
        (!limits.is_empty()).then(|| Ask {
            subject: ask.subject.clone(),
            charge_id: ask.charge_id.clone(),
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
