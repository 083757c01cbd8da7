//! The store itself.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use mingle_store::{Error, ErrorKind, Result, redis::Redis};
use parking_lot::Mutex;

use super::{
    contact::Patience,
    counts::Counts,
    keys::Era,
    nodes::Nodes,
    registry::Start,
    seen::Seen,
    sweep::Sweep,
    unsure::Doubt,
    users::{BATCH, Planning, Users},
    value::Person,
};
use crate::{
    domain::{Change, Claim, Claimed, Ended, Lost, Node, Presence, Room, Settled, Status, Terms},
    store::{Connected, Limits, Registered, Set, Store, Stored, Totals},
};

/// Presence of many processes over one server.
pub struct RedisStore {
    redis: Redis,
    terms: Terms,
    users: Users,
    sweep: Sweep,
}

/// What came of the claims so far.
#[derive(Default)]
struct Came {
    /// Of a user; the others are stored all the same.
    failed: Option<Error>,
    superseded: Vec<String>,
    lost: Vec<Doubt>,
    changed: Vec<String>,
    full: bool,
}

/// The holders that lose their sessions by what was decided last, by the
/// position of the user: what is in doubt when the write has no answer.
#[derive(Default)]
struct Tried(Mutex<HashMap<usize, Vec<Lost>>>);

impl Tried {
    fn note<'a>(&self, at: usize, claimed: impl Iterator<Item = &'a Claimed>) {
        let lost = claimed.filter_map(|claimed| match claimed {
            Claimed::Taken(lost) => lost.clone(),
            _ => None,
        });
        self.0.lock().insert(at, lost.collect());
    }

    fn doubts(&self, at: usize, user_id: &str) -> Vec<Doubt> {
        let lost = self.0.lock().remove(&at).unwrap_or_default();
        lost.into_iter().map(|lost| Doubt { user_id: user_id.to_owned(), lost }).collect()
    }
}

impl RedisStore {
    /// The store over a server, whatever is in it.
    pub fn new(redis: Redis, terms: Terms, limits: Limits) -> Self {
        Self::with_patience(redis, terms, limits, Patience::of(&terms))
    }

    /// The same; `patience` in place of what the terms make it.
    pub fn with_patience(redis: Redis, terms: Terms, limits: Limits, patience: Patience) -> Self {
        let nodes = Nodes::new(redis.clone(), terms, limits.max_nodes);
        let seen = Seen::new(redis.clone(), limits.max_last_seen);
        let counts = Counts::new(redis.clone(), limits.max_sessions);
        let users = Users::new(redis.clone(), terms, nodes, seen, counts);
        let sweep = Sweep::new(redis.clone(), terms, limits.sweep_users, patience);
        Self { redis, terms, users, sweep }
    }

    /// The keys of the generation that holds now.
    fn era(&self) -> Result<Era> {
        let fence = self.redis.fence();
        let generation = fence.borrow();
        match &*generation {
            Some(generation) => Ok(Era::new(&self.redis, generation)),
            None => Err(Error::new(ErrorKind::Unavailable, "redis is away")),
        }
    }

    /// Changes one user.
    async fn change<T>(
        &self,
        user_id: &str,
        decide: &(dyn Fn(&mut Person, i64) -> Change<T> + Sync),
    ) -> Result<Settled<T>> {
        let era = self.era()?;
        let user_ids = [user_id.to_owned()];
        let reads = self.users.read(&era, &user_ids).await?;
        let of_one = |_, person: &mut Person, now| decide(person, now);
        let planning = Planning::Sooner;
        let mut results = self.users.change(&era, (&user_ids, reads), planning, &of_one).await;
        results.pop().unwrap_or_else(|| Err(Error::new(ErrorKind::Corrupt, "presence answer")))
    }

    /// Stores the claims of some users, each with all of theirs. **Errors**: the
    /// server does not answer.
    async fn register(
        &self,
        era: &Era,
        holder: &Start,
        users: &[(String, Vec<Claim>)],
        came: &mut Came,
    ) -> Result<()> {
        let user_ids: Vec<_> = users.iter().map(|(user_id, _)| user_id.clone()).collect();
        let reads = self.users.read(era, &user_ids).await?;
        let now = reads.iter().map(|read| read.now).max().unwrap_or(0);
        let is_full = self.users.counts.is_full(era, now).await?;
        let tried = Tried::default();
        let decide = |at: usize, person: &mut Person, now| {
            let offers = users[at].1.iter().cloned();
            let room = Room { terms: None, is_full };
            // The answer carries what changed, whatever the claims met.
            let claimed = offers.map(|offer| person.claim(offer, holder.clone(), now, room));
            let claimed: Vec<_> = claimed.collect();
            tried.note(at, claimed.iter());
            Change::telling(claimed)
        };
        let results = self.users.change(era, (&user_ids, reads), Planning::Sooner, &decide).await;
        for (at, ((user_id, claims), result)) in users.iter().zip(results).enumerate() {
            match result {
                Ok(settled) => came.take(user_id, claims, settled),
                Err(error) => {
                    self.users.unsure.doubt(tried.doubts(at, user_id));
                    came.failed = Some(error);
                }
            }
        }
        Ok(())
    }

    /// Stores the claims, batch by batch, until the store is full.
    async fn register_all(
        &self,
        era: &Era,
        holder: &Start,
        claims: Vec<Claim>,
        came: &mut Came,
    ) -> Result<()> {
        for users in by_user(claims).chunks(BATCH) {
            self.register(era, holder, users, came).await?;
            if came.full {
                return Ok(());
            }
        }
        came.failed.take().map_or(Ok(()), Err)
    }
}

impl Came {
    fn losers(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost).into_iter().map(|doubt| doubt.lost).collect()
    }

    fn take(&mut self, user_id: &str, claims: &[Claim], settled: Settled<Vec<Claimed>>) {
        if settled.changed {
            self.changed.push(user_id.to_owned());
        }
        for (claim, claimed) in claims.iter().zip(settled.answer) {
            match claimed {
                Claimed::Full => self.full = true,
                Claimed::Taken(lost) => {
                    let of = |lost| Doubt { user_id: user_id.to_owned(), lost };
                    self.lost.extend(lost.map(of));
                }
                Claimed::Held(_) => self.superseded.push(claim.session_id.clone()),
                Claimed::Same | Claimed::TooMany => {}
            }
        }
    }
}

/// The claims by user, in the order in which the users come first.
fn by_user(claims: Vec<Claim>) -> Vec<(String, Vec<Claim>)> {
    let mut places = HashMap::new();
    let mut users: Vec<(String, Vec<Claim>)> = Vec::new();
    for claim in claims {
        let place = *places.entry(claim.user_id.clone()).or_insert_with(|| {
            users.push((claim.user_id.clone(), Vec::new()));
            users.len() - 1
        });
        users[place].1.push(claim);
    }
    users
}

#[async_trait]
impl Store for RedisStore {
    async fn register_node(&self, node: Node) -> Result<Registered> {
        self.users.nodes.register(&self.era()?, node).await
    }

    async fn renew_node(&self, node_id: &str, generation: u64) -> Result<bool> {
        self.users.nodes.renew(&self.era()?, node_id, generation).await
    }

    async fn register_sessions(&self, node_id: &str, claims: Vec<Claim>) -> Result<Stored> {
        let era = self.era()?;
        let Some(holder) = self.users.nodes.present(&era, node_id).await? else {
            return Ok(Stored::UnknownNode);
        };
        let mut came = Came::default();
        if let Err(error) = self.register_all(&era, &holder, claims, &mut came).await {
            // What was stored is not answered: the sweep tells it.
            came.changed.iter().for_each(|user_id| self.users.unsure.note(user_id));
            self.users.unsure.doubt(came.lost);
            return Err(error);
        }
        if came.full {
            return Ok(Stored::Full { lost: came.losers(), changed: came.changed });
        }
        let lost = came.losers();
        Ok(Stored::Done { superseded: came.superseded, lost, changed: came.changed })
    }

    async fn connect(&self, node_id: &str, claim: Claim) -> Result<Connected> {
        let era = self.era()?;
        let user_ids = [claim.user_id.clone()];
        let (holder, reads) =
            tokio::join!(self.users.nodes.present(&era, node_id), self.users.read(&era, &user_ids));
        let Some(holder) = holder? else {
            return Ok(Connected::UnknownNode);
        };
        let reads = reads?;
        let now = reads.first().map_or(0, |read| read.now);
        let is_full = self.users.counts.is_full(&era, now).await?;
        let tried = Tried::default();
        let decide = |at, person: &mut Person, now| {
            let room = Room { terms: Some(&self.terms), is_full };
            let answer = person.claim(claim.clone(), holder.clone(), now, room);
            tried.note(at, std::iter::once(&answer));
            let tells = !answer.is_refused();
            Change { answer, tells }
        };
        let planning = Planning::Sooner;
        let mut results = self.users.change(&era, (&user_ids, reads), planning, &decide).await;
        let settled = results
            .pop()
            .unwrap_or_else(|| Err(Error::new(ErrorKind::Corrupt, "presence answer")))
            .inspect_err(|_| self.users.unsure.doubt(tried.doubts(0, &claim.user_id)))?;
        let changed = settled.changed;
        Ok(match settled.answer {
            Claimed::Taken(lost) => Connected::Accepted { lost, changed },
            Claimed::Same => Connected::Accepted { lost: None, changed },
            Claimed::Held(generation) => Connected::Held(generation),
            Claimed::TooMany => Connected::TooMany,
            Claimed::Full => Connected::Full,
        })
    }

    async fn disconnect(&self, user_id: &str, session_id: &str, ended: Ended<'_>) -> Result<bool> {
        let close = |person: &mut Person, now| {
            person.close(session_id, ended, now);
            Change::telling(())
        };
        Ok(self.change(user_id, &close).await?.changed)
    }

    async fn set_status(&self, user_id: &str, session_id: &str, status: Status) -> Result<Set> {
        let set = |person: &mut Person, _| {
            let answer = person.set_status(session_id, status);
            Change { answer, tells: answer }
        };
        let settled = self.change(user_id, &set).await?;
        Ok(if settled.answer { Set::Done(settled.changed) } else { Set::UnknownSession })
    }

    async fn get_many(&self, user_ids: &[String]) -> Result<Vec<Presence>> {
        if user_ids.is_empty() {
            return Ok(Vec::new());
        }
        let era = self.era()?;
        let reads = self.users.read(&era, user_ids).await?;
        let people = self.users.people(&era, &reads).await?;
        // Asked after the read: a silence that it waited through counts.
        let rests = self.sweep.contact.rests(era.name()).is_some();
        let shown = people.iter().zip(&reads).map(|(who, read)| {
            let shown = who.as_ref().map(|who| who.shown(read.now, &self.terms));
            (shown.is_none(), shown.unwrap_or_default())
        });
        let mut presences: Vec<_> = shown
            .zip(user_ids)
            .map(|((unreadable, shown), user_id)| Presence {
                user_id: user_id.clone(),
                status: shown.status,
                unknown: unreadable || rests && shown.status.is_none(),
                unreadable,
                last_seen: shown.last_seen,
                sessions: shown.live,
            })
            .collect();
        let offline: Vec<_> =
            (0..presences.len()).filter(|at| presences[*at].status.is_none()).collect();
        let asked: Vec<_> = offline.iter().map(|at| user_ids[*at].as_str()).collect();
        for (at, seen) in offline.into_iter().zip(self.users.seen.get(&era, &asked).await?) {
            presences[at].last_seen = presences[at].last_seen.max(seen);
        }
        Ok(presences)
    }

    async fn count(&self) -> Result<Totals> {
        let era = self.era()?;
        let holding = self.users.nodes.holding(&era).await?;
        self.users.counts.totals(&era, &holding).await
    }

    async fn list_nodes(&self) -> Result<Vec<Node>> {
        self.users.nodes.list(&self.era()?).await
    }

    async fn sweep(&self) -> Result<Vec<String>> {
        let mut changed = Vec::new();
        let swept = self.sweep.run(&self.era()?, &self.users, &mut changed).await;
        changed.extend(self.users.unsure.take());
        // What was found must be told, whatever failed after: the next fails too.
        if changed.is_empty() {
            swept?;
        }
        Ok(changed)
    }

    async fn lost(&self) -> Result<Vec<Lost>> {
        let doubts = self.users.unsure.take_doubts(BATCH);
        if doubts.is_empty() {
            return Ok(Vec::new());
        }
        let user_ids: Vec<_> = doubts.iter().map(|doubt| doubt.user_id.clone()).collect();
        let read = async { self.users.read(&self.era()?, &user_ids).await };
        let reads = read.await.inspect_err(|_| self.users.unsure.doubt(doubts.clone()))?;
        let read = doubts.into_iter().zip(reads);
        // Whoever holds it still is told when somebody else does.
        let lost = read
            .filter(|(doubt, read)| read.value().is_ok_and(|value| value.supersedes(&doubt.lost)));
        Ok(lost.map(|(doubt, _)| doubt.lost).collect())
    }

    fn pause(&self) -> Duration {
        self.sweep.pause()
    }

    fn is_reached(&self) -> bool {
        self.redis.is_connected()
    }

    fn rests(&self) -> Option<Duration> {
        self.sweep.contact.rests(self.era().ok()?.name())
    }
}
