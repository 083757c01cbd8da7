//! What time alone changes: one process at a time looks for it.
//!
//! Users whose time has come are in the zset `due` of their partition, and a
//! hint says which partitions have any. While there is no hint, a sweep of the
//! process that leads is one command; each fourth also keeps the lead, looks
//! for lapsed nodes, and mends some hints.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use mingle_store::{
    ErrorKind, Result,
    redis::{Batch, Redis, Script},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    codec::{pack, unpack},
    contact::{Contact, Patience},
    keys::Era,
    users::{BATCH, LIVES_MS, Planning, Users},
    walk::Walk,
};
use crate::domain::{Change, PARTITIONS, Terms, partition};

static LEAD: Script = Script::new("lead", include_str!("../../../lua/lead.lua"));

/// Whoever leads and is silent this long is followed by another.
const LEASE_MS: i64 = 2_000;
/// Whoever does not lead asks for it this often, and whoever leads at least.
const ASK: Duration = Duration::from_secs(1);
/// The sweeps of which one asks, of whoever leads.
const GLANCES: u32 = 4;
/// How long a sweep that found nothing is enough for.
const PAUSE: Duration = Duration::from_millis(250);
/// A partition's hint is mended each 256th of this.
const MEND_MS: i64 = 60_000;
/// A partition's keys are given their time anew each 256th of this.
const KEEP_MS: i64 = 6 * 3_600_000;
/// Partitions mended, or kept, by one sweep.
const STRIDE: i64 = 8;
/// When to look again at a user who could not be read.
const CORRUPT_MS: i64 = 60_000;

/// What this process knows of the lead.
#[derive(Default)]
struct Lead {
    /// The generation in which it asked; empty when it has to ask.
    era: String,
    leads: bool,
    asked: Option<Instant>,
    /// Sweeps since.
    glances: u32,
}

/// What a sweep begins with.
enum Turn {
    /// Another leads.
    Rest,
    /// Whether anything is planned.
    Glance,
    /// Who leads.
    Ask,
}

impl Lead {
    fn turn(&mut self, era: &str) -> Turn {
        let asked = self.asked.filter(|_| self.era == era);
        let lately = asked.is_some_and(|asked| asked.elapsed() < ASK);
        self.glances += 1;
        match (lately, self.leads) {
            (true, false) => Turn::Rest,
            (true, true) if self.glances < GLANCES => Turn::Glance,
            _ => Turn::Ask,
        }
    }
}

/// A round over all partitions: the places that are due, by the time. Whoever
/// begins to lead goes on where others were.
fn places(since: i64, now: i64, round_ms: i64) -> std::ops::Range<i64> {
    const PLACES: i64 = PARTITIONS as i64;
    let place = now / (round_ms / PLACES);
    let from = if since == 0 { place } else { since.max(place - PLACES) };
    from..place.min(from + STRIDE)
}

/// The sweep of one store.
pub(super) struct Sweep {
    redis: Redis,
    max_users: usize,
    me: String,
    lead: Mutex<Lead>,
    walk: Walk,
    pub(super) contact: Contact,
    /// There was something to do.
    busy: AtomicBool,
    /// The round and partition that was mended last, and that which was kept.
    rounds: Mutex<(i64, i64)>,
}

impl Sweep {
    pub(super) fn new(redis: Redis, terms: Terms, max_users: usize, patience: Patience) -> Self {
        let me = format!("{:016x}", rand::random::<u64>());
        Self {
            redis: redis.clone(),
            max_users,
            me,
            lead: Mutex::default(),
            walk: Walk::new(redis, terms, max_users),
            contact: Contact::new(patience),
            busy: AtomicBool::new(true),
            rounds: Mutex::default(),
        }
    }

    /// How long nothing need be swept.
    pub(super) fn pause(&self) -> Duration {
        if self.busy.load(Ordering::Relaxed) { Duration::ZERO } else { PAUSE }
    }

    /// One sweep: who changed goes into `changed`, whatever fails after.
    pub(super) async fn run(
        &self,
        era: &Era,
        users: &Users,
        changed: &mut Vec<String>,
    ) -> Result<()> {
        self.busy.store(false, Ordering::Relaxed);
        users.hints.repay(era).await?;
        let turn = self.lead.lock().turn(era.name());
        let led = match turn {
            Turn::Rest => return Ok(()),
            Turn::Glance => self.glance(era, users).await,
            Turn::Ask => self.lead(era).await,
        };
        let led = led.inspect_err(|_| *self.lead.lock() = Lead::default())?;
        let Some(now) = led else {
            return Ok(());
        };
        let table = users.nodes.table(era, now).await?;
        self.walk.notice(&table, era, now);
        self.walk.run(era, users, &table, now).await?;
        if self.contact.rests(era.name()).is_none() {
            self.look(era, users, now, changed).await?;
        }
        if self.walk.goes_on() {
            self.busy.store(true, Ordering::Relaxed);
        }
        users.nodes.forget(era, &table, &self.walk.walked_long_ago(now)).await?;
        self.mend(era, users, now).await?;
        self.keep(era, now).await
    }

    /// The time, when this process leads and has something to do.
    async fn glance(&self, era: &Era, users: &Users) -> Result<Option<i64>> {
        if self.walk.goes_on() || users.hints.any(era).await? {
            return self.lead(era).await;
        }
        Ok(None)
    }

    /// The time, when this process leads.
    async fn lead(&self, era: &Era) -> Result<Option<i64>> {
        let knows = if self.contact.rests(era.name()).is_none() { "+" } else { "-" };
        let args = [(&self.me).into(), LEASE_MS.into(), knows.into()];
        let (leads, now, attended): (bool, i64, bool) =
            self.redis.run(&LEAD, &[era.sweep()], &args).await?;
        self.contact.heard(era.name(), attended);
        if !leads {
            self.walk.end();
        }
        let (era, asked) = (era.name().to_owned(), Some(Instant::now()));
        *self.lead.lock() = Lead { era, leads, asked, glances: 0 };
        Ok(leads.then_some(now))
    }

    /// Looks at the users whose time has come, the most urgent first.
    async fn look(
        &self,
        era: &Era,
        users: &Users,
        now: i64,
        changed: &mut Vec<String>,
    ) -> Result<()> {
        let partitions = users.hints.due(era, now).await?;
        if partitions.is_empty() {
            return Ok(());
        }
        self.busy.store(true, Ordering::Relaxed);
        let each = (2 * self.max_users / PARTITIONS).max(16);
        let mut batch = Batch::new();
        for partition in &partitions {
            let range = batch.ask("ZRANGEBYSCORE").arg(era.due(*partition)).arg("-inf").arg(now);
            range.arg("WITHSCORES").arg("LIMIT").arg(0).arg(each);
        }
        let due: Vec<Vec<(Vec<u8>, f64)>> = self.redis.pipeline(&batch).await?;
        let mut due: Vec<_> = due.into_iter().flatten().collect();
        due.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
        due.truncate(self.max_users);
        let due: Result<Vec<_>> = due.iter().map(|(packed, _)| unpack(packed)).collect();
        let mut failed = Ok(());
        for user_ids in due?.chunks(BATCH) {
            // Many take longer than the lease lasts.
            if self.lead(era).await?.is_none() {
                return failed;
            }
            // One that fails keeps its look; the others are told all the same.
            failed = failed.and(self.settle(era, users, (user_ids, now), changed).await);
        }
        failed.and(users.hints.looked(era, &partitions, now).await)
    }

    /// Settles users: whoever changed goes into `changed`, whatever befell the
    /// others. The first failure is answered.
    async fn settle(
        &self,
        era: &Era,
        users: &Users,
        (user_ids, now): (&[String], i64),
        changed: &mut Vec<String>,
    ) -> Result<()> {
        let reads = users.read(era, user_ids).await?;
        let planning = Planning::Anew;
        let looked = users.change(era, (user_ids, reads), planning, &|_, _, _| Change::telling(()));
        let mut failed = Ok(());
        for (user_id, result) in user_ids.iter().zip(looked.await) {
            match result {
                Ok(settled) if settled.changed => changed.push(user_id.clone()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    failed = failed.and(self.put_off(era, user_id, now).await);
                }
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed
    }

    /// Whoever cannot be read must not stand in the way of the others.
    async fn put_off(&self, era: &Era, user_id: &str, now: i64) -> Result<()> {
        tracing::warn!(partition = partition(user_id), "a user's presence cannot be read");
        let mut cmd = redis::cmd("ZADD");
        cmd.arg(era.due(partition(user_id).into())).arg(now + CORRUPT_MS).arg(pack(user_id));
        self.redis.query(&cmd).await
    }

    /// Finds what was planned by a process that was gone before it hinted it:
    /// each partition once a minute.
    async fn mend(&self, era: &Era, users: &Users, now: i64) -> Result<()> {
        let due = places(self.rounds.lock().0, now, MEND_MS);
        let place = |at: i64| usize::try_from(at).unwrap_or(0);
        users.hints.mend(era, place(due.start)..place(due.end)).await?;
        self.rounds.lock().0 = due.end;
        Ok(())
    }

    /// Begins the time of keys anew, each once in six hours.
    async fn keep(&self, era: &Era, now: i64) -> Result<()> {
        let due = places(self.rounds.lock().1, now, KEEP_MS);
        let mut batch = Batch::new();
        for place in due.clone() {
            let partition = usize::try_from(place).unwrap_or(0) % PARTITIONS;
            let others = [era.counts(partition), era.due(partition), era.hints()];
            for key in era.users(partition).into_iter().chain(others) {
                batch.tell("PEXPIRE").arg(key).arg(LIVES_MS);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.redis.pipeline::<()>(&batch).await?;
        self.rounds.lock().1 = due.end;
        Ok(())
    }
}
