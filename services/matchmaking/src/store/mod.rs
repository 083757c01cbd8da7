//! What matchmaking stores: [`Tickets`], the rows that are the truth, and
//! [`Index`], which proposes. A backend is a folder that implements one of the
//! two; the conformance suite holds it to what is written here.

pub mod failover;
pub mod memory;
pub mod redis;
pub mod sql;

use std::time::Duration;

use async_trait::async_trait;
use mingle_store::{Result, failover::Probe};

use crate::domain::{Entry, Match, Position, Proposal, Ticket};

/// What became of a ticket that should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is a row. `overdue` was active until now and had waited too long.
    New {
        /// The ticket that was in its way and is expired now.
        overdue: Option<Box<Ticket>>,
    },
    /// The user has this active ticket: with the same content, or matched and
    /// not told.
    Existing(Box<Ticket>),
    /// The user waits already, with other content.
    Other {
        /// What differs.
        differs: Differs,
    },
}

/// What differs between two contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// What the user is.
    Attributes,
    /// Whom the user accepts.
    Wants,
}

/// Why a waiting ticket ends without a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its owner says so.
    Cancelled,
    /// Its owner went away: nothing happens to a ticket that lives by a lease.
    Gone,
    /// Nobody can meet it any more.
    Unfit,
    /// It waited too long, or its lease ended: nothing happens unless that is
    /// true of the row.
    Overdue,
}

/// What became of a wish to end a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The ticket as it is now.
    pub ticket: Ticket,
    /// True when this call ended it.
    pub changed: bool,
}

/// A match that should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// UUIDv7.
    pub match_id: String,
    /// Where its tickets wait.
    pub pool: String,
    /// Its members.
    pub ticket_ids: Vec<String>,
}

/// What became of a pairing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paired {
    /// All its tickets are matched. With how long each waited, in milliseconds.
    Matched(Match, Vec<i64>),
    /// Nothing changed: these tickets do not wait any more.
    Refused(Vec<String>),
}

/// The rows.
///
/// **Guarantees**: a ticket leaves `Waiting` once; a match has all its tickets
/// or is not; a user has at most one active ticket per pool, where active is
/// waiting, or matched and not told. What a call answers is durable. Writers
/// share transactions; each gets its own verdict.
///
/// **Errors**: transient ones leave the outcome unknown; every method may be
/// called again with the same arguments.
///
/// **Time**: the caller's, which must be the same for all who share the rows:
/// see [`probe`](Tickets::probe).
#[async_trait]
pub trait Tickets: Send + Sync + 'static {
    /// Makes a waiting ticket, or answers the active one and takes over how its
    /// owner now proves to be there.
    async fn create(&self, ticket: Ticket, now_ms: i64) -> Result<Created>;

    /// Reads the active ticket of a user, if it is not overdue: what `create`
    /// would find.
    async fn active(&self, pool: &str, user_id: &str, now_ms: i64) -> Result<Option<Ticket>>;

    /// Ends a waiting ticket. `owner`, if given, must own it. `None` when there
    /// is no such ticket.
    async fn end(
        &self,
        ticket_id: &str,
        owner: Option<&str>,
        end: End,
        now_ms: i64,
    ) -> Result<Option<Ended>>;

    /// Makes a match of tickets that all wait and are not overdue.
    async fn pair(&self, pairing: Pairing, now_ms: i64) -> Result<Paired>;

    /// Notes the room of a match; the first one stays. Answers the match's
    /// tickets, empty when there is no such match.
    async fn complete(&self, match_id: &str, room_id: &str, now_ms: i64) -> Result<Vec<Ticket>>;

    /// Moves the lease of a waiting ticket on; it never moves back.
    async fn renew(&self, ticket_id: &str, lease_until: i64) -> Result<()>;

    /// Notes that the owners of these matched tickets know it.
    async fn told(&self, ticket_ids: Vec<String>) -> Result<()>;

    /// Reads tickets, in no order; those that are not there are left out. At
    /// most 1,000.
    async fn get(&self, ticket_ids: &[String]) -> Result<Vec<Ticket>>;

    /// The users that `user_id` was matched with since, newest first, at most
    /// 32.
    async fn partners(&self, pool: &str, user_id: &str, since_ms: i64) -> Result<Vec<String>>;

    /// The tickets that wait in a pool, by position, after `after` and created
    /// before `before_ms`.
    async fn waiting(
        &self,
        pool: &str,
        after: Option<Position>,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Position>>;

    /// Waiting tickets of any pool whose time is over at `now_ms` or whose lease
    /// was at `leases_ms`, oldest end first.
    async fn overdue(&self, now_ms: i64, leases_ms: i64, limit: u32) -> Result<Vec<String>>;

    /// Matches without a room made before `before_ms`, by creation and id,
    /// after that position.
    async fn roomless(
        &self,
        after: Option<(i64, String)>,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Match>>;

    /// Tickets of a pool that were matched before `before_ms`, have a room and
    /// were not taken by their owners, oldest first.
    async fn untold(&self, pool: &str, before_ms: i64, limit: u32) -> Result<Vec<String>>;

    /// Removes tickets that ended before `before_ms`, and matches made before
    /// that no ticket speaks of: at most `limit` of each, the oldest first.
    async fn forget(&self, before_ms: i64, limit: u32) -> Result<()>;

    /// Matches of a pool made since, oldest first: when, and how long each of
    /// its tickets waited. The newest `limit` tickets.
    async fn recent_waits(
        &self,
        pool: &str,
        since_ms: i64,
        limit: u32,
    ) -> Result<Vec<(String, i64, i64)>>;

    /// Waiting tickets whose owners were noted in the rows to be there since,
    /// because no index took it; the newest are left out beyond `limit`.
    async fn proved(&self, since_ms: i64, limit: u32) -> Result<Vec<String>>;

    /// Answers once the rows can be read: with the time now where processes
    /// share them whose clocks may differ, and `None` where one has them alone.
    async fn probe(&self) -> Result<Option<i64>>;
}

/// The proposer: an index over the waiting rows that may lag behind them, in
/// both directions, and may be lost; the rows decide.
///
/// **Guarantees**: what it proposes is compatible by the pool's rules, of
/// different users, oldest compatible first within the depth of one search,
/// and has left the index. A pool it does not know is empty.
#[async_trait]
pub trait Index: Probe {
    /// Asks to lead the sweep for `ttl`, or to lead on. Of the processes that
    /// share an index one leads, mostly: whoever was paused may believe it
    /// still, so that all that a leader does must be right twice.
    async fn lead(&self, holder: &str, ttl: Duration) -> Result<Lead>;

    /// True when another answered in its place whether this one leads.
    fn is_degraded(&self) -> bool {
        false
    }

    /// Adds an entry, or takes over its newer facts, and proposes a partner.
    async fn enqueue(&self, pool: &str, entry: Entry, now_ms: i64) -> Result<Option<Proposal>>;

    /// Adds entries without proposing.
    async fn put(&self, pool: &str, entries: Vec<Entry>) -> Result<()>;

    /// Takes a ticket out; none is no error.
    async fn remove(&self, pool: &str, ticket_id: &str) -> Result<()>;

    /// Notes that the owners of these tickets were there just now.
    async fn alive(&self, ticket_ids: &[String], now_ms: i64) -> Result<()>;

    /// Proposes among the next `budget` entries that wait already.
    async fn leftovers(&self, pool: &str, now_ms: i64, budget: usize) -> Result<Vec<Proposal>>;

    /// The next `budget` entries without proof of life, as ticket and user.
    async fn silent(&self, pool: &str, now_ms: i64, budget: usize)
    -> Result<Vec<(String, String)>>;

    /// Makes the index agree with the rows between two positions: drops what
    /// is not in `truth`, answers what is missing.
    async fn reconcile(&self, pool: &str, span: Span) -> Result<Vec<Position>>;

    /// How many wait in a pool.
    async fn len(&self, pool: &str) -> Result<u64>;
}

/// Who leads the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// Another process.
    Another,
    /// This one, from now on: nothing is known of what the index holds.
    Begun,
    /// This one, as before.
    Held,
}

/// What waits between two positions.
#[derive(Clone, Debug)]
pub struct Span {
    /// Excluded; `None` is the beginning.
    pub from: Option<Position>,
    /// Included.
    pub to: Position,
    /// What waits, by the rows.
    pub truth: Vec<Position>,
}
