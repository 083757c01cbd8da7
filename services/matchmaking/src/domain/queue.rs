//! The tickets that wait in one pool, and who is proposed to whom.
//!
//! **Guarantees**: every proposal is compatible by the pool's rules, of two
//! different users, and the oldest such pair that is seen within [`DEPTH`]
//! entries that must be passed over; what is proposed has left the queue, so
//! nothing is proposed twice. A parked entry keeps its age.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_set},
    iter::Peekable,
    ops::Bound,
    sync::Arc,
};

use super::pool::{Bucket, Pool};

/// Entries that one search passes over at most, because they are recent
/// partners or silent.
pub const DEPTH: usize = 16;

/// Who is before whom: the older ticket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Decides between tickets of the same millisecond.
    pub ticket_id: Arc<str>,
}

/// A waiting ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its age and its id.
    pub position: Position,
    /// Its owner: never proposed to themself.
    pub user_id: Arc<str>,
    /// What it is and wants.
    pub bucket: Bucket,
    /// Users it was matched with a short while ago.
    pub recent: Arc<[String]>,
    /// The last proof of life; `None` where a lease in the row proves it.
    pub alive_at: Option<i64>,
    /// Until then silence is no reason to ask for its owner: the owner of a
    /// ticket found again after a restart needs time to come back.
    pub spared_until: i64,
}

/// Entries that should become one match. They have left the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The members, oldest first.
    pub entries: Vec<Entry>,
}

/// The queue of one pool.
#[derive(Clone, Debug)]
pub struct Queue {
    pool: Arc<Pool>,
    entries: BTreeMap<Position, Entry>,
    places: HashMap<Arc<str>, i64>,
    /// The entries that are not parked, by bucket.
    buckets: Vec<BTreeSet<Position>>,
    parked: BTreeSet<Position>,
    swept: Option<Position>,
    asked: Option<Position>,
}

impl Queue {
    /// An empty queue.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self {
            entries: BTreeMap::new(),
            places: HashMap::new(),
            buckets: vec![BTreeSet::new(); pool.buckets()],
            parked: BTreeSet::new(),
            swept: None,
            asked: None,
            pool,
        }
    }

    /// How many wait, parked ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Queues `entry` and proposes a partner if there is one. An entry that is
    /// queued already keeps its place and takes over the newer facts.
    pub fn enqueue(&mut self, entry: Entry, now: i64) -> Option<Proposal> {
        let position = self.place(entry);
        self.propose(&position, now)
    }

    /// Queues `entry` without proposing.
    pub fn put(&mut self, entry: Entry) {
        self.place(entry);
    }

    fn place(&mut self, mut entry: Entry) -> Position {
        let id = entry.position.ticket_id.clone();
        if let Some(known) = self.take(&id) {
            entry.position = known.position;
            entry.alive_at = entry.alive_at.map(|at| known.alive_at.map_or(at, |old| old.max(at)));
        }
        self.places.insert(id, entry.position.created_at);
        self.bucket(entry.bucket).insert(entry.position.clone());
        let position = entry.position.clone();
        self.entries.insert(position.clone(), entry);
        position
    }

    /// Takes a ticket out.
    pub fn take(&mut self, ticket_id: &str) -> Option<Entry> {
        let (ticket_id, created_at) = self.places.remove_entry(ticket_id)?;
        let position = Position { created_at, ticket_id };
        let entry = self.entries.remove(&position)?;
        self.bucket(entry.bucket).remove(&position);
        self.parked.remove(&position);
        Some(entry)
    }

    /// Notes a proof of life; a parked ticket can be matched again.
    pub fn alive(&mut self, ticket_id: &str, now: i64) {
        let Some((ticket_id, created_at)) = self.places.get_key_value(ticket_id) else {
            return;
        };
        let position = Position { created_at: *created_at, ticket_id: ticket_id.clone() };
        let Some(entry) = self.entries.get_mut(&position) else {
            return;
        };
        entry.alive_at = entry.alive_at.map(|old| old.max(now));
        let bucket = entry.bucket;
        if self.parked.remove(&position) {
            self.bucket(bucket).insert(position);
        }
    }

    /// Proposes pairs among those who wait already: whose recent partners are
    /// acceptable by now, who were parked, or who were found again. Looks at
    /// the next `budget` entries by age, then goes on where it stopped.
    pub fn leftovers(&mut self, now: i64, budget: usize) -> Vec<Proposal> {
        let rest = self.entries.range((lower(&self.swept), Bound::Unbounded));
        let next: Vec<Position> = rest.take(budget).map(|(position, _)| position.clone()).collect();
        self.swept = if next.len() < budget { None } else { next.last().cloned() };
        next.iter().filter_map(|position| self.propose(position, now)).collect()
    }

    /// The next `budget` parked tickets whose owners should be looked for, as
    /// ticket and user.
    pub fn silent(&mut self, now: i64, budget: usize) -> Vec<(Arc<str>, Arc<str>)> {
        let rest = self.parked.range((lower(&self.asked), Bound::Unbounded));
        let next: Vec<Position> = rest.take(budget).cloned().collect();
        self.asked = if next.len() < budget { None } else { next.last().cloned() };
        let entries = next.iter().filter_map(|position| self.entries.get(position));
        let due = entries.filter(|entry| entry.spared_until <= now);
        due.map(|entry| (entry.position.ticket_id.clone(), entry.user_id.clone())).collect()
    }

    /// Compares the queue with the truth between two positions (`from` is
    /// excluded, `to` included): drops what is queued and not in `truth`, and
    /// answers what is in `truth` and not queued.
    pub fn reconcile(
        &mut self,
        from: &Option<Position>,
        to: &Position,
        truth: &[Position],
    ) -> Vec<Position> {
        let truth: BTreeSet<&Position> = truth.iter().collect();
        let queued = self.entries.range((lower(from), Bound::Included(to.clone())));
        let stale: Vec<Arc<str>> = queued
            .filter(|(position, _)| !truth.contains(position))
            .map(|(position, _)| position.ticket_id.clone())
            .collect();
        for ticket_id in stale {
            self.take(&ticket_id);
        }
        truth.into_iter().filter(|position| !self.entries.contains_key(position)).cloned().collect()
    }

    fn bucket(&mut self, bucket: Bucket) -> &mut BTreeSet<Position> {
        &mut self.buckets[bucket.index()]
    }

    /// Takes the entry at `position` and its oldest acceptable partner out.
    fn propose(&mut self, position: &Position, now: i64) -> Option<Proposal> {
        let entry = self.entries.get(position)?.clone();
        if self.is_silent(&entry, now) {
            self.park(&entry);
            return None;
        }
        let partner = self.partner(&entry, now)?;
        let mut entries =
            vec![self.take(&entry.position.ticket_id)?, self.take(&partner.ticket_id)?];
        entries.sort_by(|one, other| one.position.cmp(&other.position));
        Some(Proposal { entries })
    }

    fn partner(&mut self, entry: &Entry, now: i64) -> Option<Position> {
        let mut silent = Vec::new();
        let mut found = None;
        {
            let mut heads = self.heads(entry.bucket);
            let mut passed = 0;
            while passed < DEPTH {
                let Some(candidate) = oldest(&mut heads).and_then(|at| self.entries.get(at)) else {
                    break;
                };
                if candidate.position == entry.position {
                    continue;
                }
                if self.is_silent(candidate, now) {
                    silent.push(candidate.clone());
                } else if self.may_meet(entry, candidate, now) {
                    found = Some(candidate.position.clone());
                    break;
                }
                passed += 1;
            }
        }
        silent.iter().for_each(|entry| self.park(entry));
        found
    }

    fn heads(&self, bucket: Bucket) -> Vec<Peekable<btree_set::Iter<'_, Position>>> {
        let buckets = self.pool.compatible(bucket).iter().map(|it| &self.buckets[it.index()]);
        buckets.filter(|it| !it.is_empty()).map(|it| it.iter().peekable()).collect()
    }

    fn may_meet(&self, one: &Entry, other: &Entry, now: i64) -> bool {
        let met = one.recent.iter().any(|user| **user == *other.user_id)
            || other.recent.iter().any(|user| **user == *one.user_id);
        let younger = one.position.created_at.max(other.position.created_at);
        let relaxed = now - younger >= self.pool.rules().recent_partner_relax_ms;
        one.user_id != other.user_id && (!met || relaxed)
    }

    fn is_silent(&self, entry: &Entry, now: i64) -> bool {
        entry.alive_at.is_some_and(|at| now - at >= self.pool.rules().alive_ms)
    }

    fn park(&mut self, entry: &Entry) {
        self.bucket(entry.bucket).remove(&entry.position);
        self.parked.insert(entry.position.clone());
    }
}

fn lower(from: &Option<Position>) -> Bound<Position> {
    from.clone().map_or(Bound::Unbounded, Bound::Excluded)
}

/// The oldest of the heads, taken from its list.
fn oldest<'a>(heads: &mut [Peekable<btree_set::Iter<'a, Position>>]) -> Option<&'a Position> {
    let with = heads.iter_mut().filter_map(|head| head.peek().copied().map(|at| (at, head)));
    with.min_by_key(|(at, _)| *at)?.1.next()
}
