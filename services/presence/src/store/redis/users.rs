//! Users: read, decided on here, and written if nobody else wrote.

use std::{collections::BTreeMap, sync::Arc};

use mingle_store::{
    Error, ErrorKind, Result,
    redis::{Arg, Call, Redis, Script},
};

use super::{
    codec::pack,
    counts::Counts,
    hints::Hints,
    keys::Era,
    nodes::Nodes,
    registry::Table,
    seen::Seen,
    unsure::Unsure,
    value::{Person, Value},
};
use crate::domain::{Change, Settled, Terms, partition};

static READ: Script = Script::new("read", include_str!("../../../lua/read.lua"));
static SWAP: Script = Script::new("swap", include_str!("../../../lua/swap.lua"));

/// Attempts at a user whom others write, too.
const TRIES: usize = 16;
/// Longer than the sweep takes to come round and begin it anew.
pub(super) const LIVES_MS: i64 = 24 * 3_600_000;
/// Users read, decided and written in one go.
pub(super) const BATCH: usize = 256;

/// What a write does to the look that is planned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Planning {
    /// It may come sooner: another process may know why it is planned.
    Sooner,
    /// It was looked, with all that is known: planned anew.
    Anew,
}

/// A user as it was.
#[derive(Clone)]
pub(super) struct Read {
    pub(super) now: i64,
    bytes: Vec<u8>,
}

impl Read {
    pub(super) fn value(&self) -> Result<Value> {
        Value::read(&self.bytes)
    }
}

/// Decides on a user, who is given by position; again whenever another writer
/// was first.
pub(super) type Decide<'a, T> = &'a (dyn Fn(usize, &mut Person, i64) -> Change<T> + Sync);

/// A result for each user, in order.
type Results<T> = Vec<Option<Result<Settled<T>>>>;

/// The users of one store, and what it takes to decide on them.
pub(super) struct Users {
    redis: Redis,
    terms: Terms,
    pub(super) nodes: Nodes,
    pub(super) seen: Seen,
    pub(super) counts: Counts,
    pub(super) unsure: Unsure,
    pub(super) hints: Hints,
}

/// What is to be written of one user.
struct Next<T> {
    at: usize,
    settled: Settled<T>,
    call: Call,
    /// What it adds to the sessions stored.
    sessions: i64,
    partition: usize,
    /// The look that it plans, if that must be hinted.
    hint: Option<i64>,
}

impl Users {
    pub(super) fn new(
        redis: Redis,
        terms: Terms,
        nodes: Nodes,
        seen: Seen,
        counts: Counts,
    ) -> Self {
        let hints = Hints::new(redis.clone());
        Self { redis, terms, nodes, seen, counts, unsure: Unsure::default(), hints }
    }

    /// Reads users, in the order asked. Those of one partition are read at one
    /// moment.
    pub(super) async fn read(&self, era: &Era, user_ids: &[String]) -> Result<Vec<Read>> {
        let mut partitions: BTreeMap<u16, (Call, Vec<usize>)> = BTreeMap::new();
        for (at, user_id) in user_ids.iter().enumerate() {
            let (call, users) = partitions.entry(partition(user_id)).or_default();
            let keys = era.user(user_id);
            call.keys.extend([keys.narrow, keys.wide]);
            call.args.push(pack(user_id).into());
            users.push(at);
        }
        let (calls, asked): (Vec<_>, Vec<_>) = partitions.into_values().unzip();
        let answers = self.redis.run_many::<(i64, Vec<Vec<u8>>)>(&READ, &calls).await?;
        let mut reads = vec![Read { now: 0, bytes: Vec::new() }; user_ids.len()];
        for (answer, users) in answers.into_iter().zip(asked) {
            let (now, values) = answer?;
            for (bytes, at) in values.into_iter().zip(users) {
                reads[at] = Read { now, bytes };
            }
        }
        Ok(reads)
    }

    /// The people that `reads` hold, with nodes that are known well enough;
    /// `None` where a value cannot be read, which harms no other.
    pub(super) async fn people(&self, era: &Era, reads: &[Read]) -> Result<Vec<Option<Person>>> {
        let values: Vec<_> = reads.iter().map(|read| read.value().ok()).collect();
        let readable: Vec<_> = values.iter().map(Option::is_some).collect();
        let values = values.into_iter().map(Option::unwrap_or_default);
        let pairs: Vec<_> = reads.iter().map(|read| read.now).zip(values).collect();
        let table = self.table(era, &pairs).await?;
        let people = pairs.into_iter().zip(readable);
        Ok(people.map(|((_, value), reads)| reads.then(|| value.person(&table))).collect())
    }

    async fn table(&self, era: &Era, values: &[(i64, Value)]) -> Result<Arc<Table>> {
        let now = values.iter().map(|(now, _)| *now).max().unwrap_or(0);
        let table = self.nodes.table(era, now).await?;
        if values.iter().all(|(now, value)| value.is_covered(&table, *now, &self.terms)) {
            return Ok(table);
        }
        self.nodes.fresh(era).await
    }

    /// Changes users as `decide` says of what was read, or of what is there
    /// when another writer was first. One failing harms no other.
    pub(super) async fn change<T>(
        &self,
        era: &Era,
        users: (&[String], Vec<Read>),
        planning: Planning,
        decide: Decide<'_, T>,
    ) -> Vec<Result<Settled<T>>> {
        let (user_ids, mut reads) = users;
        let mut results: Results<T> = user_ids.iter().map(|_| None).collect();
        for _ in 0..TRIES {
            let decided = self.decide(era, user_ids, &reads, planning, (decide, &mut results));
            let written = match decided.await {
                Ok(nexts) => self.write(era, user_ids, nexts, (&mut reads, &mut results)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                let open = results.iter_mut().filter(|result| result.is_none());
                open.for_each(|result| *result = Some(Err(error.clone())));
            }
            if results.iter().all(Option::is_some) {
                break;
            }
        }
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(contended()))).collect()
    }

    /// What is to be written of those who have no result.
    async fn decide<T>(
        &self,
        era: &Era,
        user_ids: &[String],
        reads: &[Read],
        planning: Planning,
        (decide, results): (Decide<'_, T>, &mut Results<T>),
    ) -> Result<Vec<Next<T>>> {
        let mut open = Vec::new();
        let mut values = Vec::new();
        for (at, result) in results.iter_mut().enumerate().filter(|(_, result)| result.is_none()) {
            match reads[at].value().or_else(|error| taken_for_none(error, planning)) {
                Ok(value) => {
                    open.push(at);
                    values.push((reads[at].now, value));
                }
                Err(error) => *result = Some(Err(error)),
            }
        }
        let table = self.table(era, &values).await?;
        let mut nexts = Vec::new();
        for (at, (now, value)) in open.into_iter().zip(values) {
            let mut person = value.clone().person(&table);
            let settled = person.apply(now, &self.terms, |person| decide(at, person, now));
            let next = Value::of(&person);
            if next == value && planning == Planning::Sooner && !settled.owes {
                results[at] = Some(Ok(settled));
                continue;
            }
            let keys = era.user(&user_ids[at]);
            let partition = usize::from(partition(&user_ids[at]));
            let keys = vec![keys.narrow, keys.wide, era.counts(partition), era.due(partition)];
            let counts = value.counts_to(&next);
            let sessions = next.len() - value.len();
            let mut args: Vec<Arg> = vec![
                pack(&user_ids[at]).into(),
                reads[at].bytes.clone().into(),
                next.bytes().into(),
                settled.look_at.map(|at| at.to_string()).unwrap_or_default().into(),
                (planning == Planning::Anew).into(),
                LIVES_MS.into(),
            ];
            args.extend(counts.into_iter().flat_map(|(name, add)| [name.into(), add.into()]));
            // Whoever plans anew is about to hint what the partition plans.
            let hint = settled.look_at.filter(|_| planning == Planning::Sooner);
            let call = Call { keys, args };
            nexts.push(Next { at, settled, call, sessions, partition, hint });
        }
        Ok(nexts)
    }

    /// Writes; of those whom another wrote first, `reads` holds what is there.
    async fn write<T>(
        &self,
        era: &Era,
        user_ids: &[String],
        nexts: Vec<Next<T>>,
        (reads, results): (&mut [Read], &mut Results<T>),
    ) -> Result<()> {
        let gone = nexts.iter().filter(|next| next.settled.shown.status.is_none());
        let gone = gone
            .filter_map(|next| Some((user_ids[next.at].as_str(), next.settled.shown.last_seen?)));
        // Before they are dropped: whoever dies in between leaves a mark that
        // nobody reads while the user is there.
        self.seen.record(era, &gone.collect::<Vec<_>>()).await?;
        let looks = nexts.iter().filter_map(|next| Some((next.partition, next.hint?)));
        let promise = self.hints.promise(era, looks);
        let answers = self.swap(&nexts).await;
        for (next, answer) in nexts.into_iter().zip(answers) {
            match answer {
                Ok((true, ..)) => {
                    self.counts.add(next.sessions);
                    results[next.at] = Some(Ok(next.settled));
                }
                Ok((false, now, bytes)) => reads[next.at] = Read { now, bytes },
                Err(error) => {
                    if next.settled.changed {
                        self.unsure.note(&user_ids[next.at]);
                    }
                    results[next.at] = Some(Err(error));
                }
            }
        }
        promise.keep().await;
        Ok(())
    }

    /// The server's answer to each; when there is none, the error for each.
    async fn swap<T>(&self, nexts: &[Next<T>]) -> Vec<Result<(bool, i64, Vec<u8>)>> {
        let calls: Vec<_> = nexts.iter().map(|next| next.call.clone()).collect();
        if calls.is_empty() {
            return Vec::new();
        }
        match self.redis.run_many(&SWAP, &calls).await {
            Ok(answers) => answers,
            Err(error) => calls.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

/// Whoever claims a session must not be shut out by a value that cannot be
/// read: it is replaced whole, if it still is the one that was read. What it
/// counted stays counted. Who only looks leaves it as it is.
fn taken_for_none(error: Error, planning: Planning) -> Result<Value> {
    match planning {
        Planning::Sooner => Ok(Value::default()),
        Planning::Anew => Err(error),
    }
}

fn contended() -> Error {
    Error::new(ErrorKind::Unavailable, "presence: others write the same user all the time")
}
