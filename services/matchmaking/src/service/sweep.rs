//! What time alone brings about, once a second and in bounded steps: leftovers
//! are matched, the overdue and the absent expire, matches get their rooms,
//! and the index is made to agree with the rows.
//!
//! Of the processes that share an index one leads and does this for all. A
//! leader that dies is followed when its lease is over; two who lead for a
//! moment do the same work twice, of which every step is idempotent. When
//! nobody can be found to lead, each process does for itself what needs the
//! rows alone. A process for which the index is away shares another lead, over
//! the rows, with those who are as blind.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mingle_proto::presence::v1::{
    GetManyRequest, Status as Shown, presence_service_client::PresenceServiceClient,
};
use mingle_runtime::{Role, health::Health, peers::Peers};
use mingle_store::{Result, clock::Clock as _, commit::MAX_BATCH};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use uuid::Uuid;

use super::{Matcher, outages::Outages, steps::Steps};
use crate::{
    config::Config,
    domain::{Liveness, Pool, Position},
    store::{End, Lead, Span},
};

const DAY_MS: i64 = 86_400_000;
/// Rows younger than this are left alone: their entry is on its way.
const SETTLING_MS: i64 = 1_000;
/// Proofs of life in the rows are taken over for so long.
const PROOFS_MS: i64 = 3_000;
/// Sweeps that a leader may miss before another leads.
const MISSED: u32 = 3;

/// The sweep of one process.
pub struct Sweep {
    matcher: Arc<Matcher>,
    peers: Peers,
    health: Health,
    /// By what this one is known as leader.
    holder: String,
    lease: Duration,
    budget: u32,
    retention_ms: i64,
    room_after_ms: i64,
    call: Duration,
    /// How far each pool's index was compared with the rows.
    compared: HashMap<String, Position>,
    /// How far matches without a room were looked at.
    roomless: Option<(i64, String)>,
    /// The index did not answer who leads.
    away: bool,
    /// When it answered again.
    back_at: Option<i64>,
    outages: Outages,
    steps: Steps,
}

impl Sweep {
    /// Sweeps for `matcher`.
    pub fn new(matcher: Arc<Matcher>, config: &Config, ctx: &mingle_runtime::Context) -> Self {
        Self {
            matcher,
            peers: ctx.peers.clone(),
            health: ctx.health.clone(),
            holder: Uuid::new_v4().to_string(),
            lease: Duration::from_millis(config.sweep_ms) * MISSED,
            budget: config.sweep_budget,
            retention_ms: i64::from(config.retention_days) * DAY_MS,
            room_after_ms: config.room_after_ms,
            // A fraction of the lease: a presence that hangs takes no lead away.
            call: Duration::from_millis(config.call_ms.min(config.sweep_ms)),
            compared: HashMap::new(),
            roomless: None,
            away: false,
            back_at: None,
            outages: Outages::default(),
            steps: Steps::default(),
        }
    }

    /// Sweeps until `stop`.
    pub async fn run(mut self, every: Duration, stop: CancellationToken) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.once() => {}
            }
        }
    }

    /// Builds the whole index from the rows: one of this process alone, before
    /// the first call is answered.
    pub async fn rebuild(&mut self) -> Result<()> {
        let before = self.matcher.clock.now_ms() + 1;
        for pool in self.pools() {
            while self.compare(&pool, before).await? {}
        }
        Ok(())
    }

    /// One sweep. A step that fails is logged and tried again in the next one;
    /// the other steps go on.
    pub async fn once(&mut self) {
        let database = self.matcher.clock.learn(&*self.matcher.tickets).await;
        self.health.set_degraded("matchmaking-database", database.is_err());
        // Without the rows there is no sweep.
        if self.steps.report("rows", "", database).is_none() {
            return self.outages.begun();
        }
        self.outages.over(self.matcher.clock.now_ms());
        self.steps.report("stats", "", self.matcher.recall().await);
        let lead = self.matcher.index.lead(&self.holder, self.lease).await;
        let lead = self.steps.report("lease", "", lead);
        let away = lead.is_none() || self.matcher.index.is_degraded();
        self.health.set_degraded("matchmaking-index", away);
        if std::mem::replace(&mut self.away, away) && !away {
            self.back_at = Some(self.matcher.clock.now_ms());
        }
        let blind = match lead {
            Some(Lead::Another) => false,
            Some(lead) => {
                self.rows().await;
                self.index(lead == Lead::Begun).await
            }
            None => {
                self.rows().await;
                false
            }
        };
        self.health.set_degraded("matchmaking-presence", blind);
    }

    /// What needs the rows alone.
    async fn rows(&mut self) {
        let expired = self.expire().await;
        self.steps.report("expiry", "", expired);
        for pool in self.pools() {
            let forgotten = self.forget(&pool).await;
            self.steps.report("outcomes", pool.name(), forgotten);
        }
        let rooms = self.rooms().await;
        self.steps.report("rooms", "", rooms);
        let before = self.matcher.clock.now_ms() - self.retention_ms;
        let forgotten = self.matcher.tickets.forget(before, self.budget).await;
        self.steps.report("retention", "", forgotten);
    }

    /// What needs the index. Who leads `anew` does not know what it holds, and
    /// compares all of it. True when presence was asked and did not answer.
    async fn index(&mut self, anew: bool) -> bool {
        if anew {
            self.compared.clear();
        }
        let adopted = self.adopt_proofs().await;
        self.steps.report("proofs", "", adopted);
        let mut blind = false;
        for pool in self.pools() {
            let before = self.matcher.clock.now_ms() - SETTLING_MS;
            loop {
                let compared = self.compare(&pool, before).await;
                if self.steps.report("rebuild", pool.name(), compared) != Some(true) || !anew {
                    break;
                }
            }
            let matched = self.leftovers(&pool).await;
            self.steps.report("leftovers", pool.name(), matched);
            // Whoever did not answer for one pool is not waited for in the others.
            if !blind {
                let looked = self.look_for_owners(&pool).await;
                blind = self.steps.report("presence", pool.name(), looked) == Some(false);
            }
        }
        blind
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        self.matcher.pools.values().cloned().collect()
    }

    async fn expire(&self) -> Result<()> {
        let now = self.matcher.clock.now_ms();
        let lease = self.matcher.pools.values().map(|pool| pool.rules().lease_ms).max();
        let leases = self.outages.leases(now, lease.unwrap_or_default());
        let overdue = self.matcher.tickets.overdue(now, leases, self.budget).await?;
        self.end(overdue, End::Overdue).await
    }

    /// Ends tickets, many in one commit. The first failure is told; the others
    /// end all the same.
    async fn end(&self, ticket_ids: Vec<String>, end: End) -> Result<()> {
        let mut outcome = Ok(());
        for batch in ticket_ids.chunks(MAX_BATCH) {
            let ends: Vec<_> = batch.iter().map(|id| self.matcher.end(id, None, end)).collect();
            for ended in futures::future::join_all(ends).await {
                outcome = outcome.and(ended.map(drop));
            }
        }
        outcome
    }

    /// Compares the next rows of a pool with its index. True when more follow.
    async fn compare(&mut self, pool: &Arc<Pool>, before: i64) -> Result<bool> {
        let from = self.compared.remove(pool.name());
        let rows = &self.matcher.tickets;
        let truth = rows.waiting(pool.name(), from.clone(), before, self.budget).await?;
        let more = truth.len() == self.budget as usize;
        let end = Position { created_at: before - 1, ticket_id: "\u{10ffff}".into() };
        let to = truth.last().filter(|_| more).cloned().unwrap_or(end);
        if more {
            self.compared.insert(pool.name().to_owned(), to.clone());
        }
        let missing = self.matcher.index.reconcile(pool.name(), Span { from, to, truth }).await?;
        let missing: Vec<_> = missing.iter().map(|it| it.ticket_id.to_string()).collect();
        self.adopt(pool, &missing).await?;
        Ok(more)
    }

    /// Queues tickets that the index does not have: after a restart, or when
    /// their process died between the row and the index.
    async fn adopt(&self, pool: &Pool, ids: &[String]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let matcher = &self.matcher;
        let now = matcher.clock.now_ms();
        let mut entries = Vec::with_capacity(ids.len());
        for ticket in matcher.tickets.get(ids).await? {
            match matcher.entry(pool, &ticket, now).await? {
                Some(mut entry) => {
                    entry.spared_until = now + pool.rules().lease_ms;
                    entries.push(entry);
                }
                // The configuration changed: nobody can ever meet this one.
                None => drop(matcher.end(&ticket.ticket_id, None, End::Unfit).await?),
            }
        }
        matcher.index.put(pool.name(), entries).await
    }

    /// Takes over the proofs of life of those that the index is away for.
    async fn adopt_proofs(&self) -> Result<()> {
        let now = self.matcher.clock.now_ms();
        let proved = self.matcher.tickets.proved(now - PROOFS_MS, self.budget).await?;
        if proved.is_empty() { Ok(()) } else { self.matcher.index.alive(&proved, now).await }
    }

    async fn leftovers(&self, pool: &Arc<Pool>) -> Result<()> {
        let now = self.matcher.clock.now_ms();
        let index = &self.matcher.index;
        for proposal in index.leftovers(pool.name(), now, self.budget as usize).await? {
            self.matcher.settle(pool, proposal).await;
        }
        Ok(())
    }

    /// Expires silent tickets whose owners are offline. Presence that cannot
    /// tell, or is away, expires nothing. False when it is away.
    ///
    /// An index that was away took no proofs of life, and what presence knows
    /// may be as old: owners have the time of a lease to be heard of again.
    async fn look_for_owners(&self, pool: &Pool) -> Result<bool> {
        let now = self.matcher.clock.now_ms();
        let spared = |back_at| (back_at..back_at + pool.rules().lease_ms).contains(&now);
        // It may come back in the middle of a sweep.
        if self.away || self.back_at.is_some_and(spared) {
            return Ok(true);
        }
        let silent = self.matcher.index.silent(pool.name(), now, self.budget as usize).await?;
        if silent.is_empty() {
            return Ok(true);
        }
        let (ticket_ids, user_ids): (Vec<_>, Vec<_>) = silent.into_iter().unzip();
        let mut request = Request::new(GetManyRequest { user_ids });
        request.set_timeout(self.call);
        let mut presence = PresenceServiceClient::new(self.peers.get(Role::Presence));
        let Ok(reply) = presence.get_many(request).await else {
            return Ok(false);
        };
        // In the order asked; a shorter answer leaves the rest alone.
        let told = ticket_ids.into_iter().zip(reply.into_inner().presences);
        let gone = told.filter(|(_, presence)| presence.status() == Shown::Offline);
        let gone: Vec<_> = gone.map(|(ticket_id, _)| ticket_id).collect();
        self.let_go(pool, gone).await?;
        Ok(true)
    }

    /// Ends the tickets of those who are gone. Who went on by polls meanwhile, of
    /// which the index did not hear, is offline and there.
    async fn let_go(&self, pool: &Pool, ticket_ids: Vec<String>) -> Result<()> {
        let rows = self.matcher.tickets.get(&ticket_ids).await?;
        let polling = rows.iter().filter(|it| it.liveness == Liveness::Lease);
        let polling: Vec<_> = polling.map(|it| it.ticket_id.clone()).collect();
        self.adopt(pool, &polling).await?;
        self.end(ticket_ids, End::Gone).await
    }

    async fn forget(&self, pool: &Pool) -> Result<()> {
        let before = self.matcher.clock.now_ms() - pool.rules().outcome_ms;
        let untold = self.matcher.tickets.untold(pool.name(), before, self.budget).await?;
        if untold.is_empty() {
            return Ok(());
        }
        self.matcher.tickets.told(untold).await
    }

    /// Starts to make the rooms that are missing, oldest match first, and goes
    /// on where the last sweep stopped, so that one that always fails does not
    /// stand before the others.
    async fn rooms(&mut self) -> Result<()> {
        let before = self.matcher.clock.now_ms() - self.room_after_ms;
        let from = self.roomless.take();
        let found = self.matcher.tickets.roomless(from, before, self.budget).await?;
        let all = found.len() < self.budget as usize;
        for of in found {
            let at = (of.created_at, of.match_id.clone());
            if !self.matcher.rooms.start(of) {
                return Ok(());
            }
            self.roomless = Some(at);
        }
        if all {
            self.roomless = None;
        }
        Ok(())
    }
}
