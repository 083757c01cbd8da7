//! The store itself: shards of users, the nodes, and the sweep.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use mingle_store::{Result, clock::Clock};
use parking_lot::{Mutex, RwLock};

use super::{
    due::Due,
    nodes::{Incarnation, Nodes},
    seen::Seen,
    user::Kept,
};
use crate::{
    domain::{Change, Claim, Claimed, Ended, Node, Presence, Room, Settled, Status, Terms, User},
    store::{Connected, Limits, Registered, Set, Store, Stored, Totals},
};

/// Enough that tasks rarely meet, and that one shard of a million users is
/// walked in about a millisecond.
const SHARDS: usize = 256;

type Shard = HashMap<Box<str>, Kept>;
type Person = User<Arc<Incarnation>>;

/// Presence in the memory of this process.
pub struct Memory {
    clock: Arc<dyn Clock>,
    terms: Terms,
    limits: Limits,
    nodes: Nodes,
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    due: Mutex<Due>,
    seen: RwLock<Seen>,
    /// Sessions stored.
    stored: AtomicUsize,
    /// Users announced as not offline.
    users: AtomicI64,
}

impl Memory {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>, terms: Terms, limits: Limits) -> Self {
        Self {
            clock,
            terms,
            limits,
            nodes: Nodes::new(terms, limits.max_nodes),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            due: Mutex::default(),
            seen: RwLock::new(Seen::new(limits.max_last_seen)),
            stored: AtomicUsize::new(0),
            users: AtomicI64::new(0),
        }
    }

    fn shard(&self, user_id: &str) -> &RwLock<Shard> {
        let hash = self.hasher.hash_one(user_id);
        // The top bits: the map inside takes others.
        &self.shards[(hash >> 56) as usize % SHARDS]
    }

    fn is_full(&self) -> bool {
        self.stored.load(Ordering::Relaxed) >= self.limits.max_sessions
    }

    /// Applies `change` to a user without sessions that are gone, then settles.
    /// True beside its result when the user's status changed.
    fn with_user<T>(
        &self,
        user_id: &str,
        now: i64,
        change: impl FnOnce(&mut Person) -> Change<T>,
    ) -> (T, bool) {
        let mut shard = self.shard(user_id).write();
        let mut fresh = Kept::new();
        let known = shard.get_mut(user_id);
        let is_known = known.is_some();
        let kept = known.unwrap_or(&mut fresh);
        let (before, told) = (kept.user.len(), kept.user.told);
        let settled = kept.user.apply(now, &self.terms, change);
        let online = i64::from(kept.user.told.is_some()) - i64::from(told.is_some());
        self.users.fetch_add(online, Ordering::Relaxed);
        // Wraps where it shrinks, which is added as its complement.
        self.stored.fetch_add(kept.user.len().wrapping_sub(before), Ordering::Relaxed);
        self.note(user_id, kept, &settled);
        match (is_known, kept.user.is_empty()) {
            (true, true) => drop(shard.remove(user_id)),
            (false, false) => drop(shard.insert(user_id.into(), fresh)),
            _ => {}
        }
        (settled.answer, settled.changed)
    }

    /// Plans the next look, and remembers when whoever left was seen.
    fn note<T>(&self, user_id: &str, kept: &mut Kept, settled: &Settled<T>) {
        if let Some(at) = settled.look_at
            && kept.plan(at)
        {
            self.due.lock().push(at, user_id);
        }
        if kept.user.sessions.is_empty()
            && let Some(at) = settled.shown.last_seen
        {
            self.seen.write().record(user_id, at);
        }
    }

    fn claim(
        &self,
        offer: Claim,
        holder: Arc<Incarnation>,
        now: i64,
        terms: Option<&Terms>,
    ) -> (Claimed, bool) {
        let user_id = offer.user_id.clone();
        // Claims that run at the same time may each find the last place: the
        // bound protects memory and is kept to within the number of tasks.
        let room = Room { terms, is_full: self.is_full() };
        self.with_user(&user_id, now, |user| {
            let answer = user.claim(offer, holder, now, room);
            // A registration's answer carries what changed, whatever it met.
            let tells = terms.is_none() || !answer.is_refused();
            Change { answer, tells }
        })
    }

    fn presence(&self, user_id: &str, now: i64) -> Presence {
        let shown =
            self.shard(user_id).read().get(user_id).map(|kept| kept.user.shown(now, &self.terms));
        let shown = shown.unwrap_or_default();
        let seen = shown.status.is_none().then(|| self.seen.read().get(user_id)).flatten();
        Presence {
            user_id: user_id.to_owned(),
            status: shown.status,
            unknown: false,
            unreadable: false,
            last_seen: shown.last_seen.max(seen),
            sessions: shown.live,
        }
    }

    /// Looks at the users whose time has come.
    fn look(&self, now: i64) -> Vec<String> {
        let due = self.due.lock().pop(now, self.limits.sweep_users);
        let mut changed = Vec::new();
        for (at, user_id) in due {
            let counts = |kept: &mut Kept| kept.looked(at);
            let counts = self.shard(&user_id).write().get_mut(&user_id).is_some_and(counts);
            if counts && self.with_user(&user_id, now, |_| Change::telling(())).1 {
                changed.push(user_id.into());
            }
        }
        changed
    }

    /// Plans a look at each user who has a session that ended, some shards at
    /// a time.
    fn walk(&self, now: i64) {
        let mut walked = 0;
        while walked < self.limits.sweep_users
            && let Some(step) = { self.due.lock().step(SHARDS) }
        {
            let mut shard = self.shards[step].write();
            walked += shard.len();
            for (user_id, kept) in shard.iter_mut() {
                if let Some(at) = kept.user.due_at(now, &self.terms)
                    && kept.plan(at)
                {
                    self.due.lock().push(at, user_id);
                }
            }
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn register_node(&self, node: Node) -> Result<Registered> {
        let (registered, replaces) = self.nodes.register(node, self.clock.now_ms());
        if replaces {
            self.due.lock().walk();
        }
        Ok(registered)
    }

    async fn renew_node(&self, node_id: &str, generation: u64) -> Result<bool> {
        Ok(self.nodes.renew(node_id, generation, self.clock.now_ms()))
    }

    async fn register_sessions(&self, node_id: &str, claims: Vec<Claim>) -> Result<Stored> {
        let now = self.clock.now_ms();
        let Some(holder) = self.nodes.get(node_id, now) else {
            return Ok(Stored::UnknownNode);
        };
        let (mut superseded, mut all_lost, mut all_changed) = (Vec::new(), Vec::new(), Vec::new());
        for offer in claims {
            let (user_id, session_id) = (offer.user_id.clone(), offer.session_id.clone());
            let (claimed, changed) = self.claim(offer, holder.clone(), now, None);
            if changed {
                all_changed.push(user_id);
            }
            match claimed {
                Claimed::Full => {
                    return Ok(Stored::Full { lost: all_lost, changed: all_changed });
                }
                Claimed::Taken(lost) => all_lost.extend(lost),
                Claimed::Held(_) => superseded.push(session_id),
                Claimed::Same | Claimed::TooMany => {}
            }
        }
        Ok(Stored::Done { superseded, lost: all_lost, changed: all_changed })
    }

    async fn connect(&self, node_id: &str, claim: Claim) -> Result<Connected> {
        let now = self.clock.now_ms();
        let Some(holder) = self.nodes.get(node_id, now) else {
            return Ok(Connected::UnknownNode);
        };
        let (claimed, changed) = self.claim(claim, holder, now, Some(&self.terms));
        Ok(match claimed {
            Claimed::Taken(lost) => Connected::Accepted { lost, changed },
            Claimed::Same => Connected::Accepted { lost: None, changed },
            Claimed::Held(generation) => Connected::Held(generation),
            Claimed::TooMany => Connected::TooMany,
            Claimed::Full => Connected::Full,
        })
    }

    async fn disconnect(&self, user_id: &str, session_id: &str, ended: Ended<'_>) -> Result<bool> {
        let now = self.clock.now_ms();
        Ok(self
            .with_user(user_id, now, |user| {
                user.close(session_id, ended, now);
                Change::telling(())
            })
            .1)
    }

    async fn set_status(&self, user_id: &str, session_id: &str, status: Status) -> Result<Set> {
        let now = self.clock.now_ms();
        let (found, changed) = self.with_user(user_id, now, |user| {
            let answer = user.set_status(session_id, status);
            Change { answer, tells: answer }
        });
        Ok(if found { Set::Done(changed) } else { Set::UnknownSession })
    }

    async fn get_many(&self, user_ids: &[String]) -> Result<Vec<Presence>> {
        let now = self.clock.now_ms();
        Ok(user_ids.iter().map(|user_id| self.presence(user_id, now)).collect())
    }

    async fn count(&self) -> Result<Totals> {
        let users = u64::try_from(self.users.load(Ordering::Relaxed)).unwrap_or(0);
        Ok(Totals { users, sessions: self.nodes.sessions(self.clock.now_ms()) })
    }

    async fn list_nodes(&self) -> Result<Vec<Node>> {
        Ok(self.nodes.list(self.clock.now_ms()))
    }

    async fn sweep(&self) -> Result<Vec<String>> {
        let now = self.clock.now_ms();
        if self.nodes.notice_lapses(now) {
            self.due.lock().walk();
        }
        self.walk(now);
        Ok(self.look(now))
    }
}
