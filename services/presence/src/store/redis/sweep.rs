//! What time alone changes: one process at a time looks for it.
//!
//! Users whose time has come are in the zset `due` of their partition. Who is
//! concerned when a lease lapses nobody wrote down: then all users are walked
//! once, some at a time, while the grace still runs. How far the walk has come
//! only the walker knows: whoever takes the lease after it begins anew, also to
//! find what ended while nobody swept.

use std::{collections::HashMap, time::Duration};

use mingle_store::{
    ErrorKind, Result,
    redis::{Redis, Script},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    codec::{pack, unpack},
    keys::Era,
    registry::Table,
    users::{BATCH, LIVES_MS, Planning, Users},
    value::Value,
};
use crate::domain::{Change, Holder as _, PARTITIONS, Terms, partition};

static LEAD: Script = Script::new("lead", include_str!("../../../lua/lead.lua"));

/// Whoever leads and is silent this long is followed by another.
const LEASE_MS: i64 = 2_000;
/// A lapse is walked for only then: whoever decided just before it, by a table
/// that may be 250 ms old, has written within the timeout of a call or cannot
/// any more.
const SETTLED_MS: i64 = 1_000;
/// Partitions walked in one round trip.
const STRIDE: usize = 8;
/// A partition's keys are given their time anew each 256th of this.
const ROUND_MS: i64 = 3_600_000;
/// When to look again at a user who could not be read.
const CORRUPT_MS: i64 = 60_000;

/// What was walked for this long ago has no sessions left to look at.
const FORGET_MS: i64 = 600_000;

/// Where this process is in its walk.
#[derive(Default)]
struct Walk {
    /// The generation in which this process leads; empty when it does not.
    era: String,
    /// The next partition; `None` when no walk is needed.
    next: Option<usize>,
    /// The lapses that this walk is for: start and end of its lease.
    covering: Vec<(u32, i64)>,
    /// The lapses for which all were walked: the end of the lease, and when.
    walked: HashMap<u32, (i64, i64)>,
}

/// When the server was heard. By this process's time: the server's may have
/// stood still.
#[derive(Default)]
struct Contact {
    last: Option<Instant>,
    /// It was called in vain since.
    missed: bool,
    /// Nobody is looked at before.
    rest_until: Option<Instant>,
}

impl Contact {
    /// True when looks may be. After a silence in which no node could renew,
    /// not before they had the time to register again: else everybody would be
    /// told offline and online again.
    fn hears(&mut self, now: Instant, lease: Duration) -> bool {
        let missed = std::mem::take(&mut self.missed);
        if missed && self.last.is_some_and(|last| now - last > lease) {
            self.rest_until = Some(now + lease);
        }
        self.last = Some(now);
        self.rest_until.is_none_or(|until| now >= until)
    }
}

/// The sweep of one store.
pub(super) struct Sweep {
    redis: Redis,
    terms: Terms,
    max_users: usize,
    me: String,
    walk: Mutex<Walk>,
    contact: Mutex<Contact>,
    /// The round and partition whose keys were given their time last.
    kept: Mutex<i64>,
}

impl Sweep {
    pub(super) fn new(redis: Redis, terms: Terms, max_users: usize) -> Self {
        let me = format!("{:016x}", rand::random::<u64>());
        Self {
            redis,
            terms,
            max_users,
            me,
            walk: Mutex::default(),
            contact: Mutex::default(),
            kept: Mutex::new(0),
        }
    }

    /// One sweep: who changed goes into `changed`, whatever fails after.
    pub(super) async fn run(
        &self,
        era: &Era,
        users: &Users,
        changed: &mut Vec<String>,
    ) -> Result<()> {
        let led = self.lead(era).await.inspect_err(|_| self.contact.lock().missed = true)?;
        let lease = Duration::from_millis(self.terms.lease_ms.unsigned_abs());
        let looks = self.contact.lock().hears(Instant::now(), lease);
        let Some(now) = led else {
            return Ok(());
        };
        let table = users.nodes.table(era, now).await?;
        self.notice(&table, era, now);
        self.walk(era, &table, now).await?;
        if looks {
            self.look(era, users, now, changed).await?;
        }
        let walked = self.walked_long_ago(now);
        users.nodes.forget(era, &table, &walked).await?;
        self.keep(era, now).await
    }

    /// The time, when this process leads.
    async fn lead(&self, era: &Era) -> Result<Option<i64>> {
        let args = [(&self.me).into(), LEASE_MS.into()];
        let (leads, now): (bool, i64) = self.redis.run(&LEAD, &[era.sweep()], &args).await?;
        if !leads {
            // Another walks, or will: what was begun here is not gone on with.
            *self.walk.lock() = Walk::default();
        }
        Ok(leads.then_some(now))
    }

    /// The starts that nobody needs to know any more.
    fn walked_long_ago(&self, now: i64) -> Vec<u32> {
        let walk = self.walk.lock();
        let walked = walk.walked.iter().filter(|(_, (_, at))| now.saturating_sub(*at) >= FORGET_MS);
        walked.map(|(start, _)| *start).collect()
    }

    /// Begins a walk when this process begins to lead, and when a lease lapsed
    /// for which none was.
    fn notice(&self, table: &Table, era: &Era, now: i64) {
        let mut walk = self.walk.lock();
        let begins = walk.era != era.name();
        if begins {
            *walk = Walk { era: era.name().to_owned(), ..Walk::default() };
        }
        walk.walked.retain(|start, _| table.start(*start).is_some());
        if walk.next.is_some() {
            return;
        }
        let ends = table.starts().map(|start| (start.id(), start.lease().ends_at(&self.terms)));
        let lapsed = ends.filter(|(_, end)| end.saturating_add(SETTLED_MS) <= now);
        let covering: Vec<_> = lapsed
            .filter(|(start, end)| walk.walked.get(start).map(|it| it.0) != Some(*end))
            .collect();
        if begins || !covering.is_empty() {
            (walk.next, walk.covering) = (Some(0), covering);
        }
    }

    /// Plans a look at each user who has a session that ended.
    async fn walk(&self, era: &Era, table: &Table, now: i64) -> Result<()> {
        let mut walked = 0;
        while walked < self.max_users
            && let Some(step) = { self.walk.lock().next }
        {
            let end = (step + STRIDE).min(PARTITIONS);
            walked += self.step(era, table, now, step..end).await?;
            let mut walk = self.walk.lock();
            // Begun anew meanwhile, for another generation.
            if walk.next != Some(step) || walk.era != era.name() {
                return Ok(());
            }
            walk.next = (end < PARTITIONS).then_some(end);
            if walk.next.is_none() {
                let covered = std::mem::take(&mut walk.covering);
                walk.walked.extend(covered.into_iter().map(|(start, end)| (start, (end, now))));
            }
        }
        Ok(())
    }

    /// Some partitions of the walk. How many users they have.
    async fn step(
        &self,
        era: &Era,
        table: &Table,
        now: i64,
        partitions: std::ops::Range<usize>,
    ) -> Result<usize> {
        let mut pipe = redis::pipe();
        for key in partitions.flat_map(|partition| era.users(partition)) {
            // Whole: a bucket is small by its number, and SCAN would come back
            // for each of them.
            pipe.cmd("HGETALL").arg(key);
        }
        let buckets: Vec<Vec<(Vec<u8>, Vec<u8>)>> = self.redis.pipeline(&pipe).await?;
        let mut plan = redis::pipe();
        let mut walked = 0;
        for (packed, bytes) in buckets.into_iter().flatten() {
            walked += 1;
            // Who cannot be read is told of where somebody asks for them.
            let Ok(value) = Value::read(&bytes) else { continue };
            if let Some(at) = value.person(table).due_at(now, &self.terms) {
                let due = era.due(partition(&unpack(&packed)?).into());
                plan.cmd("ZADD").arg(&due).arg("LT").arg(at).arg(packed).ignore();
                plan.cmd("PEXPIRE").arg(&due).arg(LIVES_MS).ignore();
            }
        }
        if !plan.is_empty() {
            // Late or twice: who is looked at in vain is not harmed.
            self.redis.pipeline::<()>(&plan).await?;
        }
        Ok(walked)
    }

    /// Looks at the users whose time has come, the most urgent first.
    async fn look(
        &self,
        era: &Era,
        users: &Users,
        now: i64,
        changed: &mut Vec<String>,
    ) -> Result<()> {
        let each = (2 * self.max_users / PARTITIONS).max(16);
        let mut pipe = redis::pipe();
        for partition in 0..PARTITIONS {
            let range = pipe.cmd("ZRANGEBYSCORE").arg(era.due(partition)).arg("-inf").arg(now);
            range.arg("WITHSCORES").arg("LIMIT").arg(0).arg(each);
        }
        let due: Vec<Vec<(Vec<u8>, f64)>> = self.redis.pipeline(&pipe).await?;
        let mut due: Vec<_> = due.into_iter().flatten().collect();
        due.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
        due.truncate(self.max_users);
        let due: Result<Vec<_>> = due.iter().map(|(packed, _)| unpack(packed)).collect();
        for user_ids in due?.chunks(BATCH) {
            // Many take longer than the lease lasts.
            if self.lead(era).await?.is_none() {
                return Ok(());
            }
            let reads = users.read(era, user_ids).await?;
            let planning = Planning::Anew;
            let looked =
                users.change(era, (user_ids, reads), planning, &|_, _, _| Change::telling(()));
            for (user_id, result) in user_ids.iter().zip(looked.await) {
                match result {
                    Ok(settled) if settled.changed => changed.push(user_id.clone()),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        self.put_off(era, user_id, now).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Whoever cannot be read must not stand in the way of the others.
    async fn put_off(&self, era: &Era, user_id: &str, now: i64) -> Result<()> {
        tracing::warn!(partition = partition(user_id), "a user's presence cannot be read");
        let mut cmd = redis::cmd("ZADD");
        cmd.arg(era.due(partition(user_id).into())).arg(now + CORRUPT_MS).arg(pack(user_id));
        self.redis.query(&cmd).await
    }

    /// Begins the time of partitions anew, each once an hour.
    async fn keep(&self, era: &Era, now: i64) -> Result<()> {
        const PLACES: i64 = PARTITIONS as i64;
        let place = now / (ROUND_MS / PLACES);
        let from = (*self.kept.lock()).max(place - PLACES);
        let mut pipe = redis::pipe();
        for place in from..place.min(from + STRIDE as i64) {
            let partition = usize::try_from(place % PLACES).unwrap_or(0);
            let others = [era.counts(partition), era.due(partition)];
            for key in era.users(partition).into_iter().chain(others) {
                pipe.cmd("PEXPIRE").arg(key).arg(LIVES_MS).ignore();
            }
        }
        if pipe.is_empty() {
            return Ok(());
        }
        self.redis.pipeline::<()>(&pipe).await?;
        *self.kept.lock() = place.min(from + STRIDE as i64);
        Ok(())
    }
}
