//! `Index` on the rows themselves, for as long as there is none beside them.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | two processes propose the same ticket | the match is guarded: one is refused and looks again |
//! | a proposal is lost with its process | nothing left the rows: it is proposed again |
//! | a proof of life is lost | the ticket is passed over until the next one |
//! | two lead | both propose; see the first line |

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use mingle_store::{
    Database, Result,
    clock::Clock,
    failover::Probe,
    sql,
    sql::{Row, Sql},
};
use parking_lot::Mutex;

use super::rows;
use crate::{
    domain::{
        Content, Entry, Liveness, Pool, Position, Proposal, Queue, pool::Pools, queue::DEPTH,
    },
    store::{Index, Lead, Span},
};

const CANDIDATES: Sql = sql!("candidates");
const PRESENT: Sql = sql!("present");
const MET: Sql = sql!("met");
const PROVE: Sql = sql!("prove");
const LEAD: Sql = sql!("lead");
const QUEUED: Sql = sql!("queued");
const PROBE: Sql = sql!("probe");

/// Meetings that are read for one page of the queue: of the rest it is not known
/// that they met.
const MET_LIMIT: u32 = 10_000;

/// The queues of many processes, in the rows that they share.
///
/// **Guarantees**: as [`Index`], but that a proposal leaves nothing: until it is
/// a match its entries may be proposed again. Leftovers are paired within a page
/// of `budget` waiting tickets.
pub struct SqlIndex {
    database: Database,
    clock: Arc<dyn Clock>,
    pools: Pools,
    /// How far each pool's leftovers were looked at.
    swept: Mutex<HashMap<String, Position>>,
}

impl SqlIndex {
    /// The index of `pools` over rows that are there; `clock` is the rows'.
    pub fn new(database: Database, pools: Pools, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock, pools, swept: Mutex::default() }
    }

    /// The oldest acceptable partner among the first that fit.
    async fn partner(&self, pool: &Arc<Pool>, entry: Entry, now: i64) -> Result<Option<Proposal>> {
        let mut queue = Queue::new(pool.clone());
        for row in self.candidates(pool, &entry, now).await? {
            if let Some(candidate) = read(pool, &row)? {
                queue.put(candidate);
            }
        }
        Ok(queue.enqueue(entry, now))
    }

    async fn candidates(&self, pool: &Pool, entry: &Entry, now: i64) -> Result<Vec<Row>> {
        let mut contents = Vec::new();
        for bucket in pool.compatible(entry.bucket) {
            let Some(Content { attributes, wants }) = pool.content(*bucket) else { continue };
            contents.push([rows::text(&attributes)?, rows::text(&wants)?]);
        }
        let query = CANDIDATES
            .bind(pool.name())
            .bind(&*entry.user_id)
            .bind(rows::text(&contents)?)
            .bind(now)
            .bind(now - pool.rules().alive_ms)
            .bind(i64::try_from(DEPTH).unwrap_or(i64::MAX));
        query.all(&self.database).await
    }

    /// The next waiting tickets by age, as a queue.
    async fn page(&self, pool: &Arc<Pool>, now: i64, budget: u32) -> Result<Queue> {
        let from = self.swept.lock().remove(pool.name());
        let (at, id) = from.map_or((i64::MIN, String::new()), |position| {
            (position.created_at, position.ticket_id.to_string())
        });
        let rules = pool.rules();
        let query = PRESENT.bind(pool.name()).bind(at).bind(id).bind(now);
        let found = query.bind(now - rules.alive_ms).bind(budget).all(&self.database).await?;
        let mut entries = Vec::with_capacity(found.len());
        for row in &found {
            entries.extend(read(pool, row)?);
        }
        if found.len() == budget as usize
            && let Some(last) = entries.last()
        {
            self.swept.lock().insert(pool.name().to_owned(), last.position.clone());
        }
        let met = self.met(pool, &entries, now - rules.recent_partner_memory_ms).await?;
        let mut queue = Queue::new(pool.clone());
        for mut entry in entries {
            entry.recent = met.get(&*entry.user_id).cloned().unwrap_or_default().into();
            queue.put(entry);
        }
        Ok(queue)
    }

    async fn met(
        &self,
        pool: &Pool,
        entries: &[Entry],
        since: i64,
    ) -> Result<HashMap<String, Vec<String>>> {
        let users: Vec<&str> = entries.iter().map(|entry| &*entry.user_id).collect();
        let mut met: HashMap<String, Vec<String>> = HashMap::new();
        if users.len() < 2 {
            return Ok(met);
        }
        let query = MET.bind(pool.name()).bind(rows::text(&users)?).bind(since).bind(MET_LIMIT);
        for row in query.all(&self.database).await? {
            let user: String = row.get("user_id")?;
            let mut both: Vec<String> = rows::json(&row, "user_ids")?;
            both.retain(|other| *other != user);
            met.entry(user).or_default().extend(both);
        }
        Ok(met)
    }

    /// By what those who mean the same pools know each other.
    fn meaning(&self) -> String {
        let pools = self.pools.iter().map(|(name, pool)| format!("{name}={}", pool.buckets()));
        pools.collect::<Vec<_>>().join(",")
    }
}

/// `None` for a ticket that does not fit its pool any more.
fn read(pool: &Pool, row: &Row) -> Result<Option<Entry>> {
    let content =
        Content { attributes: rows::json(row, "attributes")?, wants: rows::json(row, "wants")? };
    let Some(bucket) = pool.bucket(&content) else { return Ok(None) };
    let (created_at, proved_at): (i64, Option<i64>) =
        (row.get("created_at")?, row.get("proved_at")?);
    let (ticket_id, user_id): (&str, &str) = (row.get("ticket_id")?, row.get("user_id")?);
    let present = rows::liveness(row.get("liveness")?)? == Liveness::Presence;
    Ok(Some(Entry {
        position: Position { created_at, ticket_id: ticket_id.into() },
        user_id: user_id.into(),
        bucket,
        recent: Arc::new([]),
        alive_at: present.then(|| proved_at.map_or(created_at, |at| at.max(created_at))),
        spared_until: 0,
    }))
}

#[async_trait]
impl Probe for SqlIndex {
    async fn probe(&self) -> Result<()> {
        PROBE.query().optional(&self.database).await.map(drop)
    }
}

#[async_trait]
impl Index for SqlIndex {
    /// Never `Begun`: there is nothing that would have to be rebuilt.
    async fn lead(&self, holder: &str, ttl: Duration) -> Result<Lead> {
        let now = self.clock.now_ms();
        let until = now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        let mut tx = self.database.begin().await?;
        let query = LEAD.bind(self.meaning()).bind(holder).bind(until).bind(now);
        let leads = query.execute(&mut tx).await? == 1;
        tx.commit().await?;
        Ok(if leads { Lead::Held } else { Lead::Another })
    }

    async fn enqueue(&self, pool: &str, entry: Entry, now_ms: i64) -> Result<Option<Proposal>> {
        match self.pools.get(pool) {
            Some(pool) => self.partner(pool, entry, now_ms).await,
            None => Ok(None),
        }
    }

    /// The rows are there.
    async fn put(&self, _: &str, _: Vec<Entry>) -> Result<()> {
        Ok(())
    }

    /// The rows say so.
    async fn remove(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }

    async fn alive(&self, ticket_ids: &[String], now_ms: i64) -> Result<()> {
        let mut tx = self.database.begin().await?;
        PROVE.bind(rows::text(&ticket_ids)?).bind(now_ms).execute(&mut tx).await?;
        tx.commit().await
    }

    async fn leftovers(&self, pool: &str, now_ms: i64, budget: usize) -> Result<Vec<Proposal>> {
        let Some(pool) = self.pools.get(pool) else { return Ok(Vec::new()) };
        let page = u32::try_from(budget).unwrap_or(u32::MAX);
        Ok(self.page(pool, now_ms, page).await?.leftovers(now_ms, budget))
    }

    /// Nobody's owner is asked for: presence knows no more than these rows.
    async fn silent(&self, _: &str, _: i64, _: usize) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    async fn reconcile(&self, _: &str, _: Span) -> Result<Vec<Position>> {
        Ok(Vec::new())
    }

    async fn len(&self, pool: &str) -> Result<u64> {
        let row = QUEUED.bind(pool).optional(&self.database).await?;
        let waiting: i64 = row.map_or(Ok(0), |row| row.get("waiting"))?;
        Ok(u64::try_from(waiting).unwrap_or(0))
    }
}
