//! Reads: the memory of this process first, then what is shared.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{core::Core, fetch::Want, local::Copy};
use crate::domain::{Outcome, Read};

/// Who waits asks again after so long, heard or not: only what was not told makes them
/// wait for it, and thousands may wait for one key.
const AGAIN: Duration = Duration::from_secs(2);
/// The same while nothing is heard of what is loaded.
const DEAF: Duration = Duration::from_millis(50);

impl Core {
    /// Reads a key that [`near`](Self::near) does not answer; waits up to `wait` while
    /// another one loads it.
    pub(super) async fn get(self: &Arc<Self>, want: &Want, wait: Duration) -> Read {
        let until = Instant::now() + wait;
        let mut waited = false;
        loop {
            // From before the question: what is filled meanwhile is not missed.
            let mut bell = pin!(self.local.shards().bell(&want.key).notified());
            bell.as_mut().enable();
            // Filled since the caller looked, it is found by the question.
            let in_memory = if waited { self.near(want, Instant::now()) } else { None };
            let read = match in_memory {
                Some(read) => read,
                None => self.far(want).await,
            };
            let now = Instant::now();
            if read.outcome != Outcome::MissWait || now >= until {
                return read;
            }
            if !std::mem::replace(&mut waited, true)
                && let Some(of) = self.counts.of(&want.key.namespace.name)
            {
                of.waits.add(1);
            }
            let often = if self.hears(now) { AGAIN } else { DEAF };
            let ends = now + Duration::from_micros(read.retry_us);
            tokio::select! {
                () = bell => {}
                () = sleep_until(until.min(ends).min(now + often)) => {}
            }
        }
    }

    /// Reads several keys, and waits for nobody.
    pub(super) async fn get_many(&self, wants: &[Want]) -> Vec<Read> {
        let now = Instant::now();
        let mut reads: Vec<_> = wants.iter().map(|want| self.near(want, now)).collect();
        let open: Vec<usize> = (0..wants.len()).filter(|at| reads[*at].is_none()).collect();
        let far: Vec<Want> = open.iter().map(|at| wants[*at].clone()).collect();
        let fetched = self.fetch(&far).await;
        for (at, fetched) in open.into_iter().zip(fetched) {
            reads[at] = Some(self.or_near(&wants[at], fetched.answer(wants[at].leases)));
        }
        let missed = || Read::nothing(Outcome::Miss);
        reads.into_iter().map(|read| read.unwrap_or_else(missed)).collect()
    }

    /// What is shared answers.
    async fn far(self: &Arc<Self>, want: &Want) -> Read {
        // Who reads through may not share what was asked before it came, and who wants
        // no lease leaves none to others.
        if want.through || !want.leases {
            return self.or_near(want, self.fetch_one(want).await.answer(want.leases));
        }
        let asking = || {
            let (core, want) = (self.clone(), want.clone());
            async move { core.fetch_one(&want).await }
        };
        match self.flights.join(&want.key, asking).await {
            Some(fetched) => self.or_near(want, fetched.answer(true)),
            None => Read::nothing(Outcome::MissWait),
        }
    }

    /// The same, or what the memory of this process has where nothing else does: what is
    /// shared did not answer. Who reads through is served nothing then.
    fn or_near(&self, want: &Want, read: Read) -> Read {
        if want.through && read.degraded {
            return read.without_value(want.leases);
        }
        let is_lacking = read.degraded && read.entry.is_none();
        let in_memory = || self.in_memory(want, true, Instant::now());
        is_lacking.then(in_memory).flatten().unwrap_or(read)
    }

    /// What the memory of this process answers.
    pub(super) fn near(&self, want: &Want, now: Instant) -> Option<Read> {
        if want.through { None } else { self.in_memory(want, self.keeper.is_away(), now) }
    }

    /// What the memory of this process has, while it may be believed; or, while what is
    /// shared is away, until its hard end.
    fn in_memory(&self, want: &Want, away: bool, now: Instant) -> Option<Read> {
        let Copy { entry, fresh_until, kept_until, voided } = self.local.get(&want.key)?;
        let (namespace, captured) = (&want.key.namespace.name, &entry.captured);
        let holds = self.known.holds(namespace, captured, now);
        // What nobody can tell holds, but for what is known to be voided since it was read.
        let holds =
            holds.unwrap_or_else(|| away && voided == Some(self.known.voided(namespace, captured)));
        if now >= kept_until || !holds || !(away || self.hears(now)) {
            return None;
        }
        let left = fresh_until.saturating_duration_since(now);
        let due = left.as_micros() as f64 <= entry.load_us as f64 * want.luck;
        let outcome = match (away, left.is_zero()) {
            (false, _) if due => return None,
            (_, false) => Outcome::Hit,
            (true, true) => Outcome::Stale,
            (false, true) => return None,
        };
        Some(Read { entry: Some(entry), degraded: away, local: true, ..Read::nothing(outcome) })
    }
}
