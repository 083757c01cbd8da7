//! `Index` on Redis.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use mingle_store::{
    Error, ErrorKind, Result,
    clock::Clock,
    failover::Probe,
    redis::{Arg, Call, Generation, Redis},
};
use tokio::sync::watch;

use super::{
    entry,
    place::{Place, after, digest},
    scripts,
};
use crate::{
    domain::{Entry, Position, Proposal, pool::Pools},
    store::{Index, Lead, Span},
};

/// Entries or tickets of one script: it runs for about a millisecond.
const STEP: usize = 100;
/// Stale entries are looked for among so many at a time.
const STALE: usize = 4_096;
/// More than this is asked for by nobody.
const MAX_BUDGET: usize = 1_000_000;

/// The queues of many processes.
///
/// **Guarantees**: as [`Index`]; each call is atomic, except that `put`,
/// `alive` and `leftovers` go in steps. Times that come and go are of the
/// caller's clock; those that stay are of the server's, so that processes
/// whose clocks differ agree on who is silent.
///
/// **Errors**: transient ones leave the outcome unknown; see the module.
pub struct RedisIndex {
    redis: Redis,
    fence: watch::Receiver<Option<Generation>>,
    clock: Arc<dyn Clock>,
    places: HashMap<String, Place>,
    /// What all pools together mean: who disagrees has a leader of their own.
    meaning: String,
}

impl RedisIndex {
    /// The index of `pools`; `clock` is that of the entries' times. Asks for
    /// nothing, so that Redis may be away.
    pub fn new(redis: Redis, pools: &Pools, clock: Arc<dyn Clock>) -> Self {
        let mut meaning: Vec<String> = Vec::with_capacity(pools.len());
        let mut places = HashMap::with_capacity(pools.len());
        for (name, pool) in pools {
            let place = Place::new(pool);
            meaning.push(format!("{name}={}", place.buckets()));
            places.insert(name.clone(), place);
        }
        let fence = redis.fence();
        Self { redis, fence, clock, places, meaning: digest(meaning.join(",")) }
    }

    fn generation(&self) -> Result<Generation> {
        let away = || Error::new(ErrorKind::Unavailable, "index: not connected yet");
        self.fence.borrow().clone().ok_or_else(away)
    }

    /// `KEYS` of a pool's scripts.
    fn keys(&self, place: &Place) -> Result<[String; 1]> {
        Ok([place.key(&self.redis, &self.generation()?)])
    }

    /// One step of `leftovers`: up to which position all steps go, after which
    /// one the next goes on, and what is proposed.
    async fn step(
        &self,
        place: &Place,
        head: &[Arg],
        bounds: (String, String, usize),
    ) -> Result<(String, Option<Position>, Vec<Proposal>)> {
        let (from, to, budget) = bounds;
        let mut args = head.to_vec();
        args.extend([from.into(), to.into(), budget.into(), STEP.into()]);
        args.extend(place.rows());
        let answer: Vec<String> =
            self.redis.run(&scripts::LEFTOVERS, &self.keys(place)?, &args).await?;
        let [to, last, found @ ..] = answer.as_slice() else { return Err(entry::corrupt()) };
        let last = Some(last).filter(|it| !it.is_empty()).map(|it| entry::read_position(it));
        Ok((to.clone(), last.transpose()?, entry::proposals(&place.pool, found)?))
    }
}

#[async_trait]
impl Probe for RedisIndex {
    async fn probe(&self) -> Result<()> {
        let key = self.redis.key("mm", format_args!("1:{}:probe", self.generation()?));
        self.redis.run::<u64>(&scripts::LEN, &[key], &[]).await.map(drop)
    }
}

#[async_trait]
impl Index for RedisIndex {
    async fn lead(&self, holder: &str, ttl: Duration) -> Result<Lead> {
        let key =
            self.redis.key("mm", format_args!("1:{}:lead:{}", self.generation()?, self.meaning));
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        match self.redis.run(&scripts::LEAD, &[key], &[holder.into(), ttl.into()]).await? {
            0 => Ok(Lead::Another),
            1 => Ok(Lead::Begun),
            2 => Ok(Lead::Held),
            _ => Err(entry::corrupt()),
        }
    }

    async fn enqueue(&self, pool: &str, entry: Entry, now_ms: i64) -> Result<Option<Proposal>> {
        let Some(place) = self.places.get(pool) else { return Ok(None) };
        let mut args = place.search(now_ms);
        args.extend(entry::write(&entry)?);
        args.push(place.row(entry.bucket.index()));
        let answer: Vec<String> =
            self.redis.run(&scripts::ENQUEUE, &self.keys(place)?, &args).await?;
        Ok(entry::proposals(&place.pool, &answer)?.pop())
    }

    async fn put(&self, pool: &str, entries: Vec<Entry>) -> Result<()> {
        let Some(place) = self.places.get(pool) else { return Ok(()) };
        for entries in entries.chunks(STEP) {
            let mut args = place.head(self.clock.now_ms());
            for entry in entries {
                args.extend(entry::write(entry)?);
            }
            self.redis.run::<()>(&scripts::PUT, &self.keys(place)?, &args).await?;
        }
        Ok(())
    }

    async fn remove(&self, pool: &str, ticket_id: &str) -> Result<()> {
        let Some(place) = self.places.get(pool) else { return Ok(()) };
        let mut args = place.head(self.clock.now_ms());
        args.push(ticket_id.into());
        self.redis.run(&scripts::REMOVE, &self.keys(place)?, &args).await
    }

    async fn alive(&self, ticket_ids: &[String], now_ms: i64) -> Result<()> {
        let mut calls = Vec::new();
        for place in self.places.values() {
            for ticket_ids in ticket_ids.chunks(STEP) {
                let mut args = place.head(now_ms);
                args.extend(ticket_ids.iter().map(Arg::from));
                calls.push(Call { keys: self.keys(place)?.into(), args });
            }
        }
        let noted: Vec<Result<()>> = self.redis.run_many(&scripts::ALIVE, &calls).await?;
        noted.into_iter().collect()
    }

    async fn leftovers(&self, pool: &str, now_ms: i64, budget: usize) -> Result<Vec<Proposal>> {
        let Some(place) = self.places.get(pool).filter(|_| budget > 0) else {
            return Ok(Vec::new());
        };
        let head = place.search(now_ms);
        let from = place.swept.lock().clone();
        let mut bounds = (after(from.as_ref()), String::new(), budget.min(MAX_BUDGET));
        let mut found = Vec::new();
        loop {
            let (to, last, more) = match self.step(place, &head, bounds).await {
                Ok(step) => step,
                // What was proposed has left the index: it is not thrown away.
                Err(_) if !found.is_empty() => return Ok(found),
                Err(error) => return Err(error),
            };
            found.extend(more);
            let end = to.strip_prefix('[').map(entry::read_position).transpose()?;
            *place.swept.lock() = last.clone().or(end);
            let Some(last) = last else { return Ok(found) };
            bounds = (after(Some(&last)), to, budget);
        }
    }

    async fn silent(
        &self,
        pool: &str,
        now_ms: i64,
        budget: usize,
    ) -> Result<Vec<(String, String)>> {
        let Some(place) = self.places.get(pool).filter(|_| budget > 0) else {
            return Ok(Vec::new());
        };
        let from = place.asked.lock().clone();
        let mut args = place.head(now_ms);
        args.extend([after(from.as_ref()).into(), budget.min(MAX_BUDGET).into()]);
        let answer: Vec<String> =
            self.redis.run(&scripts::SILENT, &self.keys(place)?, &args).await?;
        let [last, silent @ ..] = answer.as_slice() else { return Err(entry::corrupt()) };
        let last = Some(last).filter(|it| !it.is_empty()).map(|it| entry::read_position(it));
        *place.asked.lock() = last.transpose()?;
        let named = silent.chunks_exact(2).map(|it| (it[0].clone(), it[1].clone()));
        Ok(named.collect())
    }

    async fn reconcile(&self, pool: &str, span: Span) -> Result<Vec<Position>> {
        let Some(place) = self.places.get(pool) else { return Ok(Vec::new()) };
        let mut args = place.head(self.clock.now_ms());
        let to = format!("[{}", entry::position(&span.to));
        args.extend([after(span.from.as_ref()).into(), to.into(), STALE.into()]);
        args.extend(span.truth.iter().map(|it| entry::position(it).into()));
        let missing: Vec<String> =
            self.redis.run(&scripts::RECONCILE, &self.keys(place)?, &args).await?;
        missing.iter().map(|it| entry::read_position(it)).collect()
    }

    async fn len(&self, pool: &str) -> Result<u64> {
        let Some(place) = self.places.get(pool) else { return Ok(0) };
        self.redis.run(&scripts::LEN, &self.keys(place)?, &[]).await
    }
}
