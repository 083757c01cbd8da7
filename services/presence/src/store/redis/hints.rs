//! Which partitions are to be looked at, and when.
//!
//! One zset for all: a sweep asks it one question, not one of each partition.
//! A look that is planned in a partition is hinted right after. A hint may be
//! too early, then somebody looks in vain; and it may be lost with the process
//! that was about to write it, then the look is found by [`Hints::mend`].

use std::{collections::BTreeMap, ops::Range};

use mingle_store::{
    Result,
    redis::{Arg, Batch, Redis, Script},
};
use parking_lot::Mutex;

use super::{keys::Era, users::LIVES_MS};
use crate::domain::PARTITIONS;

static LOOKED: Script = Script::new("looked", include_str!("../../../lua/looked.lua"));

/// The earliest look by partition.
#[derive(Default)]
pub(super) struct Looks(BTreeMap<usize, i64>);

impl Looks {
    /// Keeps the earlier of what is known of the partition and `at`.
    pub(super) fn note(&mut self, partition: usize, at: i64) {
        let earliest = self.0.entry(partition).or_insert(at);
        *earliest = at.min(*earliest);
    }

    fn extend(&mut self, others: Self) {
        others.0.into_iter().for_each(|(partition, at)| self.note(partition, at));
    }
}

impl FromIterator<(usize, i64)> for Looks {
    fn from_iter<I: IntoIterator<Item = (usize, i64)>>(iter: I) -> Self {
        let mut looks = Self::default();
        iter.into_iter().for_each(|(partition, at)| looks.note(partition, at));
        looks
    }
}

/// Hints that are owed until they are written, also by a call whose caller
/// went away in between.
pub(super) struct Promise<'a> {
    hints: &'a Hints,
    era: &'a Era,
    looks: Looks,
}

impl Promise<'_> {
    /// Hints what is planned by now. What cannot be hinted is by the next sweep
    /// of this process.
    pub(super) async fn keep(mut self) {
        if self.hints.write(self.era, &self.looks).await.is_ok() {
            self.looks = Looks::default();
        }
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        let looks = std::mem::take(&mut self.looks);
        if !looks.0.is_empty() {
            self.hints.owe(self.era, looks);
        }
    }
}

/// The hints of one store.
pub(super) struct Hints {
    redis: Redis,
    /// The generation, and hints that could not be written: at most one per
    /// partition.
    owed: Mutex<(String, Looks)>,
}

impl Hints {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis, owed: Mutex::default() }
    }

    /// To be made before looks are planned, and kept after.
    pub(super) fn promise<'a>(
        &'a self,
        era: &'a Era,
        looks: impl Iterator<Item = (usize, i64)>,
    ) -> Promise<'a> {
        Promise { hints: self, era, looks: looks.collect() }
    }

    /// Hints what could not be hinted when it was planned.
    pub(super) async fn repay(&self, era: &Era) -> Result<()> {
        let (of, looks) = std::mem::take(&mut *self.owed.lock());
        // Of another generation: what it planned nobody reads.
        if of != era.name() {
            return Ok(());
        }
        let written = self.write(era, &looks).await;
        if written.is_err() {
            self.owe(era, looks);
        }
        written
    }

    fn owe(&self, era: &Era, looks: Looks) {
        let mut owed = self.owed.lock();
        if owed.0 != era.name() {
            *owed = (era.name().to_owned(), Looks::default());
        }
        owed.1.extend(looks);
    }

    async fn write(&self, era: &Era, looks: &Looks) -> Result<()> {
        if looks.0.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        self.add(&mut batch, era, looks);
        // Late or twice: who is looked at in vain is not harmed.
        self.redis.pipeline::<()>(&batch).await
    }

    /// Adds to `batch` what hints `looks`.
    pub(super) fn add(&self, batch: &mut Batch, era: &Era, looks: &Looks) {
        let hint = batch.tell("ZADD").arg(era.hints()).arg("LT");
        for (partition, at) in &looks.0 {
            hint.arg(at).arg(partition);
        }
        batch.tell("PEXPIRE").arg(era.hints()).arg(LIVES_MS);
    }

    /// True when a look is planned, whenever.
    pub(super) async fn any(&self, era: &Era) -> Result<bool> {
        let mut cmd = redis::cmd("ZRANGE");
        let first: Vec<String> = self.redis.query(cmd.arg(era.hints()).arg(0).arg(0)).await?;
        Ok(!first.is_empty())
    }

    /// The partitions to be looked at.
    pub(super) async fn due(&self, era: &Era, now: i64) -> Result<Vec<usize>> {
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(era.hints()).arg("-inf").arg(now).arg("BYSCORE");
        cmd.arg("LIMIT").arg(0).arg(PARTITIONS);
        let mut due: Vec<usize> = self.redis.query(&cmd).await?;
        due.retain(|partition| *partition < PARTITIONS);
        Ok(due)
    }

    /// Makes the hints of partitions that were looked at what they still plan.
    ///
    /// Taken back first, read after: comparing with the score that was read
    /// would not do, since a later look that is hinted meanwhile leaves an
    /// earlier score as it is.
    pub(super) async fn looked(&self, era: &Era, partitions: &[usize], now: i64) -> Result<()> {
        let args: Vec<Arg> = partitions.iter().map(|partition| (*partition).into()).collect();
        let again = async {
            self.redis.run::<i64>(&LOOKED, &[era.hints()], &args).await?;
            self.write(era, &self.planned(era, partitions).await?).await
        };
        again.await.inspect_err(|_| {
            self.owe(era, partitions.iter().map(|partition| (*partition, now)).collect());
        })
    }

    /// Hints what partitions plan, whatever was hinted.
    pub(super) async fn mend(&self, era: &Era, partitions: Range<usize>) -> Result<()> {
        let partitions: Vec<_> = partitions.map(|place| place % PARTITIONS).collect();
        self.write(era, &self.planned(era, &partitions).await?).await
    }

    async fn planned(&self, era: &Era, partitions: &[usize]) -> Result<Looks> {
        let mut looks = Looks::default();
        if partitions.is_empty() {
            return Ok(looks);
        }
        let mut batch = Batch::new();
        for partition in partitions {
            batch.ask("ZRANGE").arg(era.due(*partition)).arg(0).arg(0).arg("WITHSCORES");
        }
        let first: Vec<Vec<(Vec<u8>, f64)>> = self.redis.pipeline(&batch).await?;
        for (partition, first) in partitions.iter().zip(first) {
            // Milliseconds are whole far beyond the years a double can count.
            first.into_iter().for_each(|(_, at)| looks.note(*partition, at as i64));
        }
        Ok(looks)
    }
}
