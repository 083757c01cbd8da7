//! The store itself: shards of subjects.

use std::sync::Arc;

use ahash::RandomState;
use async_trait::async_trait;
use mingle_store::{Result, clock::Clock};
use parking_lot::Mutex;

use super::{
    shard::Shard,
    subject::{Back, Memo, Subject},
};
use crate::{
    domain::{Answer, Ask, Charged, Limit, Limits, Place, Verdict},
    store::{Store, name::known_as},
};

const SHARDS: usize = 64;

/// What the store may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Subjects, in all; each shard has its even part, at least one.
    pub max_subjects: usize,
    /// Charges of one subject that are remembered.
    pub max_charges: usize,
    /// How long a charge is remembered at most.
    pub remember_us: u64,
}

/// Limits in the memory of this process.
pub struct Memory {
    clock: Arc<dyn Clock>,
    bounds: Bounds,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

impl Memory {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>, bounds: Bounds) -> Self {
        Self {
            clock,
            bounds,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Subjects that are held.
    pub fn subjects(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, subject: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(subject);
        // The top bits: the map inside takes others.
        &self.shards[(hash >> 56) as usize % SHARDS]
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.clock.now_us()).unwrap_or(0)
    }

    fn memo(&self) -> Memo {
        Memo {
            now_us: self.now_us(),
            remember_us: self.bounds.remember_us,
            max_charges: self.bounds.max_charges,
        }
    }

    /// Charges an ask.
    pub(crate) fn charge(&self, ask: &Ask) -> Answer {
        if ask.cost == 0 {
            return self.judge(ask);
        }
        self.change(ask, |subject, memo| {
            let answer = subject.check(ask, memo);
            let renews = ask.is_lease() && answer.verdict == Verdict::Repeated;
            let has_changed = renews || answer.verdict == Verdict::Allowed;
            (answer, has_changed)
        })
    }

    /// Takes note of an ask that was charged elsewhere.
    pub(crate) fn note(&self, ask: &Ask) {
        self.change(ask, |subject, memo| (subject.note(ask, memo), true));
    }

    /// Takes note that a charge which is known here was found made already.
    pub(crate) fn mark_repeated(&self, ask: &Ask) {
        self.change(ask, |subject, memo| (subject.mark_repeated(ask, memo), false));
    }

    /// Changes a subject, and keeps it if that has changed it.
    fn change<T>(&self, ask: &Ask, change: impl FnOnce(&mut Subject, Memo) -> (T, bool)) -> T {
        let (memo, name) = (self.memo(), known_as(&ask.subject));
        let max = (self.bounds.max_subjects / SHARDS).max(1);
        let mut shard = self.shard(&name).lock();
        shard.change(&name, (memo.now_us, max), |subject| change(subject, memo))
    }

    /// What [`charge`](Self::charge) would answer.
    pub(crate) fn judge(&self, ask: &Ask) -> Answer {
        let (now_us, name) = (self.now_us(), known_as(&ask.subject));
        let shard = self.shard(&name).lock();
        let unused = Subject::default();
        let standings = shard.get(&name).unwrap_or(&unused).judge(ask, now_us, ask.cost);
        Answer::new(ask.verdict(&standings), standings)
    }

    /// Gives a charge back.
    pub(crate) fn give_back(&self, charge: Charged<'_>) -> Back {
        let given = self.known(charge.subject, |subject, now_us| subject.refund(charge, now_us));
        given.unwrap_or(Back::Nothing)
    }

    /// Makes a subject as if it had used nothing of these limits.
    pub(crate) fn forget(&self, subject: &str, limits: &[Arc<Limit>]) {
        self.known(subject, |subject, now_us| subject.reset(limits, now_us));
    }

    /// Changes a subject, if it is known.
    fn known<T>(&self, subject: &str, change: impl FnOnce(&mut Subject, u64) -> T) -> Option<T> {
        let (now_us, name) = (self.now_us(), known_as(subject));
        let mut shard = self.shard(&name).lock();
        shard.change_known(&name, now_us, |subject| change(subject, now_us))
    }
}

#[async_trait]
impl Store for Memory {
    async fn check(&self, asks: &[Ask]) -> Vec<Result<Answer>> {
        asks.iter().map(|ask| Ok(self.charge(ask))).collect()
    }

    async fn peek(&self, ask: &Ask) -> Result<Answer> {
        Ok(self.judge(ask))
    }

    async fn refund(&self, charge: Charged<'_>, _: &Arc<Limits>) -> Result<bool> {
        Ok(self.give_back(charge) == Back::Given)
    }

    fn place(&self, _: &str, _: &Limit) -> Place {
        Place::Memory
    }

    async fn reset(&self, subject: &str, limits: &[Arc<Limit>]) -> Result<()> {
        self.forget(subject, limits);
        Ok(())
    }
}
