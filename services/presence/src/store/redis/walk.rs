//! The walk: looks are planned at those whose node's lease lapsed.
//!
//! Who is concerned nobody wrote down: all users are walked once, some at a
//! time, while the grace still runs. How far the walk has come only the walker
//! knows: whoever leads after it begins anew, also to find what ended while
//! nobody swept.

use std::{collections::HashMap, ops::Range};

use mingle_store::{
    Result,
    redis::{Batch, Redis},
};
use parking_lot::Mutex;

use super::{
    codec::unpack,
    hints::Looks,
    keys::Era,
    registry::Table,
    users::{LIVES_MS, Users},
    value::Value,
};
use crate::domain::{Holder as _, PARTITIONS, Terms, partition};

/// A lapse is walked for only then: whoever decided just before it, by a table
/// that may be 250 ms old, has written within the timeout of a call or cannot
/// any more.
const SETTLED_MS: i64 = 1_000;
/// Partitions walked in one go.
const STRIDE: usize = 8;
/// What was walked for this long ago has no sessions left to look at.
const FORGET_MS: i64 = 600_000;

/// Where this process is in its walk.
#[derive(Default)]
struct State {
    /// The generation in which this process leads; empty when it does not.
    era: String,
    /// The next partition; `None` when no walk is needed.
    next: Option<usize>,
    /// The lapses that this walk is for: start and end of its lease.
    covering: Vec<(u32, i64)>,
    /// The lapses for which all were walked: the end of the lease, and when.
    walked: HashMap<u32, (i64, i64)>,
}

/// The walk of one process.
pub(super) struct Walk {
    redis: Redis,
    terms: Terms,
    max_users: usize,
    state: Mutex<State>,
}

impl Walk {
    pub(super) fn new(redis: Redis, terms: Terms, max_users: usize) -> Self {
        Self { redis, terms, max_users, state: Mutex::default() }
    }

    /// Another walks, or will: what was begun here is not gone on with.
    pub(super) fn end(&self) {
        *self.state.lock() = State::default();
    }

    /// True when it is not at its end.
    pub(super) fn goes_on(&self) -> bool {
        self.state.lock().next.is_some()
    }

    /// The starts that nobody needs to know any more.
    pub(super) fn walked_long_ago(&self, now: i64) -> Vec<u32> {
        let state = self.state.lock();
        let walked =
            state.walked.iter().filter(|(_, (_, at))| now.saturating_sub(*at) >= FORGET_MS);
        walked.map(|(start, _)| *start).collect()
    }

    /// Begins a walk when this process begins to lead, and when a lease lapsed
    /// for which none was.
    pub(super) fn notice(&self, table: &Table, era: &Era, now: i64) {
        let mut state = self.state.lock();
        let begins = state.era != era.name();
        if begins {
            *state = State { era: era.name().to_owned(), ..State::default() };
        }
        state.walked.retain(|start, _| table.start(*start).is_some());
        if state.next.is_some() {
            return;
        }
        let ends = table.starts().map(|start| (start.id(), start.lease().ends_at(&self.terms)));
        let lapsed = ends.filter(|(_, end)| end.saturating_add(SETTLED_MS) <= now);
        let covering: Vec<_> = lapsed
            .filter(|(start, end)| state.walked.get(start).map(|it| it.0) != Some(*end))
            .collect();
        if begins || !covering.is_empty() {
            (state.next, state.covering) = (Some(0), covering);
        }
    }

    /// Plans a look at each user who has a session that ended.
    pub(super) async fn run(
        &self,
        era: &Era,
        users: &Users,
        table: &Table,
        now: i64,
    ) -> Result<()> {
        let mut walked = 0;
        while walked < self.max_users
            && let Some(step) = { self.state.lock().next }
        {
            let end = (step + STRIDE).min(PARTITIONS);
            let found = self.read(era, step..end).await?;
            walked += found.len();
            self.plan(era, users, found, (table, now)).await?;
            let mut state = self.state.lock();
            // Begun anew meanwhile, for another generation.
            if state.next != Some(step) || state.era != era.name() {
                return Ok(());
            }
            state.next = (end < PARTITIONS).then_some(end);
            if state.next.is_none() {
                let covered = std::mem::take(&mut state.covering);
                state.walked.extend(covered.into_iter().map(|(start, end)| (start, (end, now))));
            }
        }
        Ok(())
    }

    /// The users of some partitions and their values.
    async fn read(&self, era: &Era, partitions: Range<usize>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        // One command for each partition that nobody is in.
        let mut exist = Batch::new();
        for partition in partitions.clone() {
            exist.ask("EXISTS").arg(era.users(partition));
        }
        let buckets: Vec<usize> = self.redis.pipeline(&exist).await?;
        let mut batch = Batch::new();
        for (partition, _) in partitions.zip(buckets).filter(|(_, buckets)| *buckets > 0) {
            for key in era.users(partition) {
                // Whole: a bucket is small by its number, and SCAN would come
                // back for each of them.
                batch.ask("HGETALL").arg(key);
            }
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let buckets: Vec<Vec<(Vec<u8>, Vec<u8>)>> = self.redis.pipeline(&batch).await?;
        Ok(buckets.into_iter().flatten().collect())
    }

    async fn plan(
        &self,
        era: &Era,
        users: &Users,
        found: Vec<(Vec<u8>, Vec<u8>)>,
        (table, now): (&Table, i64),
    ) -> Result<()> {
        let mut plan = Batch::new();
        let mut looks = Looks::default();
        for (packed, bytes) in found {
            // Who cannot be read is told of where somebody asks for them.
            let Ok(value) = Value::read(&bytes) else { continue };
            if let Some(at) = value.person(table).due_at(now, &self.terms) {
                let partition = usize::from(partition(&unpack(&packed)?));
                let due = era.due(partition);
                plan.tell("ZADD").arg(&due).arg("LT").arg(at).arg(packed);
                plan.tell("PEXPIRE").arg(&due).arg(LIVES_MS);
                looks.note(partition, at);
            }
        }
        if plan.is_empty() {
            return Ok(());
        }
        users.hints.add(&mut plan, era, &looks);
        // Late or twice: who is looked at in vain is not harmed.
        self.redis.pipeline::<()>(&plan).await
    }
}
