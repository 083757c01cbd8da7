//! From a ticket to a match: the index proposes, the rows decide.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mingle_client::ratelimit::{Charge, Denied};
use mingle_store::{Result, clock::Clock as _};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{Charges, Feed, Rooms, RowClock, charge, past::Past, proofs::Proofs};
use crate::{
    domain::{
        Entry, Liveness, Pool, Position, Proposal, Snapshot, State, Ticket, pool::Pools,
        stats::MAX_WAITS,
    },
    error::Error,
    store::{Created, End, Ended, Index, Paired, Pairing, Tickets},
    wire::Join,
};

/// Makes, ends and matches tickets.
pub struct Matcher {
    pub(super) pools: Pools,
    pub(super) tickets: Arc<dyn Tickets>,
    pub(super) index: Arc<dyn Index>,
    pub(super) rooms: Arc<Rooms>,
    pub(super) feed: Arc<Feed>,
    pub(super) clock: Arc<RowClock>,
    pub(super) proofs: Proofs,
    charges: Charges,
    past: HashMap<String, Mutex<Past>>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Where tickets are kept and told.
pub struct Parts {
    /// The rows.
    pub tickets: Arc<dyn Tickets>,
    /// The proposals.
    pub index: Arc<dyn Index>,
    /// The rooms.
    pub rooms: Arc<Rooms>,
    /// The followers.
    pub feed: Arc<Feed>,
    /// The time.
    pub clock: Arc<RowClock>,
    /// What joins cost.
    pub charges: Charges,
}

impl Matcher {
    /// Matches in `pools`, at most `max_matches` at once.
    pub fn new(
        pools: Pools,
        parts: Parts,
        max_matches: usize,
        ctx: &mingle_runtime::Context,
    ) -> Arc<Self> {
        let Parts { tickets, index, rooms, feed, clock, charges } = parts;
        let past = pools.keys().map(|name| (name.clone(), Mutex::default())).collect();
        let proofs = Proofs::start(index.clone(), clock.clone());
        let permits = Arc::new(Semaphore::new(max_matches));
        let (tasks, stop) = (ctx.tasks.clone(), ctx.stop.clone());
        Arc::new(Self {
            pools,
            tickets,
            index,
            rooms,
            feed,
            clock,
            proofs,
            charges,
            past,
            permits,
            tasks,
            stop,
        })
    }

    /// Makes a ticket and begins to look for a partner. The user is charged for
    /// a new one.
    #[tracing::instrument(name = "matchmaking.create", skip_all, fields(pool = join.pool.name()))]
    pub async fn create(self: &Arc<Self>, join: Join) -> Result<Ticket, Error> {
        let now = self.clock.now_ms();
        let ticket = asked(&join, now);
        let charge = self.charge(&join, &ticket).await?;
        let created = self.record(&join, &ticket).await;
        if let Some(charge) = charge {
            self.charges.settle(charge, charge::work(&created)).await;
        }
        let ticket = match created? {
            Created::New { overdue } => {
                if let Some(overdue) = overdue {
                    self.left(&overdue).await;
                }
                ticket
            }
            Created::Existing(existing) => *existing,
            Created::Other { differs } => return Err(Error::AlreadyWaiting(differs)),
        };
        if ticket.state == State::Waiting {
            self.look(&join.pool, &ticket, now).await;
        }
        Ok(ticket)
    }

    /// Charges for `ticket`; `None` when the user has one already.
    async fn charge(&self, join: &Join, ticket: &Ticket) -> Result<Option<Charge>, Error> {
        let id = join.request_id.as_deref().unwrap_or(&ticket.ticket_id);
        let denied = match self.charges.charge(&ticket.user_id, id).await {
            Ok(charge) => return Ok(Some(charge)),
            Err(denied @ Denied::Broken(_)) => return Err(denied.into()),
            Err(denied) => denied,
        };
        let active = self.tickets.active(&ticket.pool, &ticket.user_id, ticket.created_at).await?;
        let stays = |it: &Ticket| !(it.is_settled() && join.told.contains(&it.ticket_id));
        if active.is_some_and(|it| stays(&it)) { Ok(None) } else { Err(denied.into()) }
    }

    async fn record(&self, join: &Join, ticket: &Ticket) -> Result<Created> {
        let now = ticket.created_at;
        let created = self.tickets.create(ticket.clone(), now).await?;
        match &created {
            Created::Existing(known)
                if known.is_settled() && join.told.contains(&known.ticket_id) =>
            {
                // The gateway's own note of it is still on its way.
                self.tickets.told(vec![known.ticket_id.clone()]).await?;
                self.tickets.create(ticket.clone(), now).await
            }
            _ => Ok(created),
        }
    }

    /// Ends a ticket; an outcome that its owner waits for is announced.
    pub async fn end(
        &self,
        ticket_id: &str,
        owner: Option<&str>,
        end: End,
    ) -> Result<Option<Ended>> {
        let ended = self.tickets.end(ticket_id, owner, end, self.clock.now_ms()).await?;
        if let Some(Ended { ticket, changed: true }) = &ended {
            self.left(ticket).await;
        }
        Ok(ended)
    }

    /// What the recent past of a pool looks like, and how many wait in it.
    pub async fn stats(&self, pool: &Pool) -> Result<(u64, Snapshot)> {
        let waiting = self.index.len(pool.name()).await?;
        let now = self.clock.now_ms();
        let past = self.past.get(pool.name());
        let snapshot = past.map(|past| past.lock().snapshot(now));
        Ok((waiting, snapshot.unwrap_or_else(|| Past::default().snapshot(now))))
    }

    /// Reads of the recent past what is not known here yet: all of it at the
    /// start, then the matches that others made.
    pub async fn recall(&self) -> Result<()> {
        let limit = u32::try_from(MAX_WAITS).unwrap_or(u32::MAX);
        for (name, past) in &self.past {
            let since = past.lock().since(self.clock.now_ms());
            let waits = self.tickets.recent_waits(name, since, limit).await?;
            let mut past = past.lock();
            for of in waits.chunk_by(|one, other| one.0 == other.0) {
                if let Some((match_id, at, _)) = of.first() {
                    past.note(match_id, *at, of.iter().map(|(_, _, waited)| *waited));
                }
            }
        }
        Ok(())
    }

    /// The entry of a waiting ticket; `None` when it does not fit its pool any
    /// more.
    pub(super) async fn entry(
        &self,
        pool: &Pool,
        ticket: &Ticket,
        now: i64,
    ) -> Result<Option<Entry>> {
        let Some(bucket) = pool.bucket(&ticket.content) else {
            return Ok(None);
        };
        let since = now - pool.rules().recent_partner_memory_ms;
        let recent = self.tickets.partners(pool.name(), &ticket.user_id, since).await?;
        let position =
            Position { created_at: ticket.created_at, ticket_id: ticket.ticket_id.as_str().into() };
        let present = ticket.liveness == Liveness::Presence;
        Ok(Some(Entry {
            position,
            user_id: ticket.user_id.as_str().into(),
            bucket,
            recent: recent.into(),
            alive_at: present.then_some(ticket.created_at),
            spared_until: 0,
        }))
    }

    /// Writes a proposal as a match, in the background and in bounded number;
    /// beyond, its entries go back and are proposed again by the sweep.
    pub(super) async fn settle(self: &Arc<Self>, pool: &Arc<Pool>, proposal: Proposal) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.put_back(pool, proposal.entries).await;
        };
        let (matcher, pool) = (self.clone(), pool.clone());
        self.tasks.spawn(async move {
            let _permit = permit;
            matcher.write(&pool, proposal).await;
        });
    }

    /// A ticket that waits is queued. A failure is no error: the row is there,
    /// and the sweep finds it.
    async fn look(self: &Arc<Self>, pool: &Arc<Pool>, ticket: &Ticket, now: i64) {
        let proposal = match self.entry(pool, ticket, now).await {
            Ok(Some(mut entry)) => {
                // To ask for a ticket is a proof of life.
                entry.alive_at = entry.alive_at.map(|_| now);
                self.index.enqueue(pool.name(), entry, now).await
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match proposal {
            Ok(Some(proposal)) => self.settle(pool, proposal).await,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, pool = pool.name(), "not queued yet"),
        }
    }

    /// The match is one transaction. If a member is gone, the others are queued
    /// again with their age, which may propose them once more.
    #[tracing::instrument(name = "matchmaking.match", skip_all, fields(pool = pool.name()))]
    async fn write(self: &Arc<Self>, pool: &Arc<Pool>, proposal: Proposal) {
        let mut next = vec![proposal];
        while let Some(proposal) = next.pop() {
            if self.stop.is_cancelled() {
                return self.put_back(pool, proposal.entries).await;
            }
            match self.pair(pool, &proposal).await {
                Ok(Paired::Matched(of, waits)) => {
                    count(pool.name(), &waits);
                    if let Some(past) = self.past.get(pool.name()) {
                        past.lock().note(&of.match_id, of.created_at, waits);
                    }
                    self.rooms.start(of);
                }
                Ok(Paired::Refused(gone)) => {
                    let stays = |it: &Entry| !gone.iter().any(|id| **id == *it.position.ticket_id);
                    for entry in proposal.entries.into_iter().filter(stays) {
                        let now = self.clock.now_ms();
                        match self.index.enqueue(pool.name(), entry, now).await {
                            Ok(proposal) => next.extend(proposal),
                            Err(error) => tracing::warn!(%error, "not queued again yet"),
                        }
                    }
                }
                Err(error) => {
                    // Whether they are matched is unknown; the rows will say.
                    tracing::warn!(%error, pool = pool.name(), "match not written");
                    self.put_back(pool, proposal.entries).await;
                }
            }
        }
    }

    async fn pair(&self, pool: &Pool, proposal: &Proposal) -> Result<Paired> {
        let ids = proposal.entries.iter().map(|entry| entry.position.ticket_id.to_string());
        let pairing = Pairing {
            match_id: Uuid::now_v7().to_string(),
            pool: pool.name().to_owned(),
            ticket_ids: ids.collect(),
        };
        self.tickets.pair(pairing, self.clock.now_ms()).await
    }

    async fn put_back(&self, pool: &Pool, entries: Vec<Entry>) {
        if let Err(error) = self.index.put(pool.name(), entries).await {
            tracing::warn!(%error, pool = pool.name(), "not queued again yet");
        }
    }

    /// A ticket has left the queue without a match.
    async fn left(&self, ticket: &Ticket) {
        if let Err(error) = self.index.remove(&ticket.pool, &ticket.ticket_id).await {
            tracing::warn!(%error, "a stale entry stays until it is proposed");
        }
        self.feed.announce(ticket).await;
    }
}

/// Counts a match whose tickets waited so many milliseconds.
fn count(pool: &str, waits: &[i64]) {
    let waited = metrics::histogram!("mingle_match_wait_seconds", "pool" => pool.to_owned());
    for wait in waits {
        waited.record(Duration::from_millis(u64::try_from(*wait).unwrap_or(0)));
    }
}

/// The ticket that is asked for.
fn asked(join: &Join, now: i64) -> Ticket {
    let rules = join.pool.rules();
    let lease = (join.liveness == Liveness::Lease).then(|| now + rules.lease_ms);
    Ticket {
        ticket_id: Uuid::now_v7().to_string(),
        user_id: join.actor.clone(),
        pool: join.pool.name().to_owned(),
        content: join.content.clone(),
        state: State::Waiting,
        liveness: join.liveness,
        lease_until: lease,
        created_at: now,
        expires_at: now + rules.ticket_ttl_ms,
        ended_at: None,
        of: None,
        told: false,
    }
}
