//! What one process decides while nobody can count together.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ahash::AHashMap;
use mingle_store::clock::Clock;
use parking_lot::Mutex;

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
    parts: Mutex<Parts>,
}

/// The limits as one of so many processes counts them: each made once, and not for each
/// subject that has used it.
#[derive(Default)]
struct Parts {
    of: u64,
    /// With the whole that each is a part of.
    known: AHashMap<Arc<str>, (Arc<Limit>, Arc<Limit>)>,
}

impl Parts {
    fn part(&mut self, whole: &Arc<Limit>, of: u64) -> Arc<Limit> {
        if self.of != of {
            *self = Self { of, ..Self::default() };
        }
        match self.known.get(&whole.name) {
            Some((known, part)) if Arc::ptr_eq(known, whole) || known == whole => part.clone(),
            _ => {
                let part = Arc::new(whole.part_of(of));
                self.known.insert(whole.name.clone(), (whole.clone(), part.clone()));
                part
            }
        }
    }
}

impl Alone {
    /// Knows of no other process yet.
    pub(super) fn new(clock: Arc<dyn Clock>, bounds: Bounds) -> Self {
        let memory = Memory::new(clock, bounds);
        Self { memory, nodes: AtomicU64::new(1), parts: Mutex::default() }
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
    fn local<'a>(&self, ask: &'a Ask) -> Option<Cow<'a, Ask>> {
        let nodes = self.shared_by();
        let is_local = |limit: &&Arc<Limit>| limit.outage == Outage::Local;
        // The part of one process is the whole.
        if nodes == 1 && ask.limits.iter().all(|limit| is_local(&limit)) {
            return Some(Cow::Borrowed(ask));
        }
        let mut parts = self.parts.lock();
        let local = ask.limits.iter().filter(is_local);
        let limits: Vec<_> = local.map(|limit| parts.part(limit, nodes)).collect();
        drop(parts);
        (!limits.is_empty()).then(|| {
            Cow::Owned(Ask {
                subject: ask.subject.clone(),
                charge_id: ask.charge_id.clone(),
                is_new: ask.is_new,
                cost: ask.cost,
                limits,
            })
        })
    }
}

fn open(limit: &Limit) -> Standing {
    Standing { allowed: true, remaining: limit.quota, retry_us: 0, reset_us: 0 }
}

fn shut() -> Standing {
    Standing { allowed: false, remaining: 0, retry_us: CLOSED_US, reset_us: CLOSED_US }
}

#[cfg(test)]
mod tests {
    use mingle_store::clock::ManualClock;

    use super::*;
    use crate::domain::Algorithm;

    #[test]
    fn a_part_is_of_the_limit_as_it_is_and_of_as_many_as_there_are() {
        let bounds = Bounds { max_subjects: 64, max_charges: 1, remember_us: 1_000_000 };
        let alone = Alone::new(Arc::new(ManualClock::at(0)), bounds);
        let of = |quota| {
            let limit = Limit {
                name: "any".into(),
                algorithm: Algorithm::SlidingWindow,
                quota,
                window_us: 1_000_000,
                burst: 1,
                outage: Outage::Local,
                shadow: false,
                parts: 1,
            };
            let charge_id = String::new();
            let limits = vec![limit.into()];
            Ask { subject: "ann".into(), charge_id, is_new: true, cost: 1, limits }
        };
        let (ten, twenty) = (of(10), of(20));
        let left = |ask: &Ask| alone.decide(ask, false).standings[0].remaining;
        for (nodes, of_ten, of_twenty) in [(1, 10, 20), (2, 5, 10), (4, 2, 5), (1, 10, 20)] {
            alone.share(nodes);
            assert_eq!((left(&ten), left(&twenty), left(&ten)), (of_ten, of_twenty, of_ten));
        }
        alone.share(2);
        let part = |ask: &Ask| alone.local(ask).map(|local| local.limits[0].clone());
        assert!(part(&ten).zip(part(&ten)).is_some_and(|(one, other)| Arc::ptr_eq(&one, &other)));
    }
}
