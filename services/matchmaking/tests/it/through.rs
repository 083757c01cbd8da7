//! `Tickets` through the calls: the conformance suite against the whole
//! service, behind gRPC in process.
//!
//! The service makes the ids and takes the time from its clock. The bodies'
//! ids are therefore names here, translated in both directions, and each call
//! sets the clock first: calls that run together must be of the same time.
//!
//! | method | calls |
//! | --- | --- |
//! | `create` | CreateTicket; `overdue` by Watch |
//! | `get` | GetTicket, and the state that Watch tells first; both must agree |
//! | `end`, cancelled | CancelTicket; `changed` by Watch |
//! | `renew` | GetTicket, which also every `get` of a lease ticket is |
//! | `told` | Watch |
//!
//! **No call** there is for what the service does by itself or asks on behalf
//! of nobody. This goes to the same rows underneath, past the service:
//!
//! - `end`, gone or overdue; `pair`; `complete`; `forget`
//! - `active`, `partners`, `waiting`, `overdue`, `roomless`, `untold`, `recent_waits`,
//!   `probe`
//! - of a ticket, what no answer carries: `content`, `liveness`,
//!   `lease_until`, `expires_at`, `ended_at`, `told`; of its match,
//!   `ticket_ids` and `created_at`
//!
//! `WatchRequest.alive` and `PoolStats` belong to the index and the matcher:
//! no method of `Tickets` is behind them.
//!
//! Nobody in the bodies' tickets is whom the others want, and nothing sweeps,
//! so the service makes no match of its own.

mod names;
mod wire;

use std::{any::Any, collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use mingle_matchmaking::{
    domain::{Match, Position, State, Ticket},
    store::{Created, End, Ended, Paired, Pairing, Tickets, sql::SqlTickets},
};
use mingle_proto::matchmaking::v1::{
    Ticket as WireTicket, TicketIds, TicketState, watch_request::Action,
};
use mingle_store::{
    Result,
    clock::{Clock as _, ManualClock},
};
use mingle_testkit::eventually;

use self::names::Names;
use crate::{
    tickets::{LEASE_MS, POOL, TTL_MS},
    world::{Around, Client, Follower, PATIENCE, World, cancel, get},
};

/// A service without tickets, and what keeps it running.
pub(crate) async fn open_grpc() -> (Arc<dyn Tickets>, Box<dyn Any>) {
    let pool = |name: &str| {
        format!(
            "[matchmaking.pools.{name}]\nrequired = ['gender']\n\
             ticket_ttl_ms = {TTL_MS}\nlease_ms = {LEASE_MS}\n\
             [matchmaking.pools.{name}.attributes]\ngender = ['female', 'male', 'other']\n"
        )
    };
    // Rows are not read again by chance: what Watch tells was announced.
    let rare = "[matchmaking]\nrecheck_ms = 3_600_000\n";
    let overrides = format!("{rare}{}{}", pool(POOL), pool("elsewhere"));
    let world = World::open(Around { overrides, ..Around::default() }).await;
    let through = Through {
        client: world.client.clone(),
        clock: world.around.clock.clone(),
        rows: Arc::new(SqlTickets::open(world.database.clone().into()).await.unwrap()),
        names: Names::default(),
    };
    (Arc::new(through), Box::new(world))
}

struct Through {
    client: Client,
    clock: Arc<ManualClock>,
    rows: Arc<SqlTickets>,
    names: Names,
}

/// A ticket that Watch follows, and the state that it told first.
struct Followed(Follower, WireTicket);

impl Followed {
    /// Whether it ended without a match while it was followed. Then Watch must
    /// tell what was `answered`.
    async fn has_ended(mut self, answered: &WireTicket) -> bool {
        let over = matches!(answered.state(), TicketState::Cancelled | TicketState::Expired);
        let ended = over && self.1.state() == TicketState::Waiting;
        if ended {
            assert_eq!(self.0.state().await, *answered);
        }
        ended
    }
}

impl Through {
    fn at(&self, now_ms: i64) {
        self.clock.advance(now_ms - self.clock.now_ms());
    }

    /// Reads a ticket as its owner.
    async fn visit(&self, ticket_id: &str) -> Result<Option<WireTicket>> {
        wire::found(get(&self.client, &self.names.owner(ticket_id), ticket_id, 0).await)
    }

    /// A stream that was sent one request.
    async fn stream(&self, action: fn(TicketIds) -> Action, ids: &[String]) -> Follower {
        let follower = Follower::of(&self.client).await;
        follower.act(action, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        follower
    }

    async fn follow(&self, ticket_id: &str) -> Followed {
        let mut follower = self.stream(Action::Add, &[ticket_id.to_owned()]).await;
        let first = follower.state().await;
        Followed(follower, first)
    }

    async fn whole(&self, answered: WireTicket) -> Result<Ticket> {
        let row = self.rows.get(std::slice::from_ref(&answered.ticket_id)).await?.pop();
        Ok(self.names.ticket(wire::whole(answered, row.expect("what is answered is a row"))))
    }
}

#[async_trait]
impl Tickets for Through {
    async fn create(&self, ticket: Ticket, now_ms: i64) -> Result<Created> {
        self.at(now_ms);
        let previous = self.names.previous(&ticket);
        let followed = match &previous {
            Some(ticket_id) => Some(self.follow(ticket_id).await),
            None => None,
        };
        let answered = match self.client.clone().create_ticket(wire::wish(&ticket)).await {
            Ok(reply) => reply.into_inner().ticket.expect("an answer has its ticket"),
            Err(status) => return Ok(Created::Other { differs: wire::differs(&status)? }),
        };
        if self.names.knows(&answered.ticket_id) {
            return Ok(Created::Existing(Box::new(self.whole(answered).await?)));
        }
        self.names.learn(&ticket, &answered.ticket_id);
        assert_eq!(self.whole(answered).await?, ticket, "what was made is what was wished");
        let (Some(previous), Some(followed)) = (previous, followed) else {
            return Ok(Created::New { overdue: None });
        };
        let previous = self.visit(&previous).await?.expect("it was there before");
        let made_way = followed.has_ended(&previous).await;
        let overdue = if made_way { Some(Box::new(self.whole(previous).await?)) } else { None };
        Ok(Created::New { overdue })
    }

    async fn active(&self, pool: &str, user_id: &str, now_ms: i64) -> Result<Option<Ticket>> {
        let found = self.rows.active(pool, user_id, now_ms).await?;
        Ok(found.map(|ticket| self.names.ticket(ticket)))
    }

    async fn end(
        &self,
        ticket_id: &str,
        owner: Option<&str>,
        end: End,
        now_ms: i64,
    ) -> Result<Option<Ended>> {
        let id = self.names.id(ticket_id);
        if end != End::Cancelled {
            let ended = self.rows.end(&id, owner, end, now_ms).await?;
            return Ok(ended.map(|it| Ended { ticket: self.names.ticket(it.ticket), ..it }));
        }
        self.at(now_ms);
        let followed = self.follow(&id).await;
        let owner = owner.map_or_else(|| self.names.owner(&id), str::to_owned);
        let Some(answered) = wire::found(cancel(&self.client, &owner, &id).await)? else {
            return Ok(None);
        };
        let changed = followed.has_ended(&answered).await;
        Ok(Some(Ended { ticket: self.whole(answered).await?, changed }))
    }

    async fn renew(&self, ticket_id: &str, lease_until: i64) -> Result<()> {
        self.at(lease_until - LEASE_MS);
        self.visit(&self.names.id(ticket_id)).await.map(drop)
    }

    /// Answers when it is written: the call says nothing of that.
    async fn told(&self, ticket_ids: Vec<String>) -> Result<()> {
        let mut outcomes = self.get(&ticket_ids).await?;
        outcomes.retain(|ticket| ticket.state == State::Matched);
        let outcomes: Vec<String> = outcomes.into_iter().map(|it| it.ticket_id).collect();
        let outcomes = self.names.ids(&outcomes);
        let _stream = self.stream(Action::Told, &self.names.ids(&ticket_ids)).await;
        let rows = self.rows.clone();
        let noted = move || {
            let (rows, outcomes) = (rows.clone(), outcomes.clone());
            async move { rows.get(&outcomes).await.unwrap().iter().all(|row| row.told) }
        };
        eventually(PATIENCE, "the outcomes to be noted as told", noted).await;
        Ok(())
    }

    async fn get(&self, ticket_ids: &[String]) -> Result<Vec<Ticket>> {
        let ids = self.names.ids(ticket_ids);
        let mut stream = self.stream(Action::Add, &ids).await;
        let mut told = BTreeMap::new();
        for _ in &ids {
            let ticket = stream.state().await;
            told.insert(ticket.ticket_id.clone(), ticket);
        }
        let mut tickets = Vec::new();
        for ticket_id in ids {
            let answered = self.visit(&ticket_id).await?;
            let told = told.remove(&ticket_id).expect("each that was added is answered");
            let absent = WireTicket { ticket_id, ..WireTicket::default() };
            let shown = answered.clone().map_or(absent, wire::shown);
            assert_eq!(told, shown, "what Watch tells is what GetTicket answers");
            if let Some(answered) = answered {
                tickets.push(self.whole(answered).await?);
            }
        }
        Ok(tickets)
    }

    async fn pair(&self, pairing: Pairing, now_ms: i64) -> Result<Paired> {
        let ticket_ids = self.names.ids(&pairing.ticket_ids);
        Ok(match self.rows.pair(Pairing { ticket_ids, ..pairing }, now_ms).await? {
            Paired::Matched(of, waits) => Paired::Matched(self.names.of(of), waits),
            Paired::Refused(gone) => Paired::Refused(self.names.named(gone)),
        })
    }

    async fn complete(&self, match_id: &str, room_id: &str, now_ms: i64) -> Result<Vec<Ticket>> {
        let tickets = self.rows.complete(match_id, room_id, now_ms).await?;
        Ok(tickets.into_iter().map(|ticket| self.names.ticket(ticket)).collect())
    }

    async fn partners(&self, pool: &str, user_id: &str, since_ms: i64) -> Result<Vec<String>> {
        self.rows.partners(pool, user_id, since_ms).await
    }

    async fn waiting(
        &self,
        pool: &str,
        after: Option<Position>,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Position>> {
        let after =
            after.map(|it| Position { ticket_id: self.names.id(&it.ticket_id).into(), ..it });
        let page = self.rows.waiting(pool, after, before_ms, limit).await?;
        let named =
            |it: Position| Position { ticket_id: self.names.name(&it.ticket_id).into(), ..it };
        Ok(page.into_iter().map(named).collect())
    }

    async fn overdue(&self, now_ms: i64, leases_ms: i64, limit: u32) -> Result<Vec<String>> {
        Ok(self.names.named(self.rows.overdue(now_ms, leases_ms, limit).await?))
    }

    async fn roomless(
        &self,
        after: Option<(i64, String)>,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Match>> {
        let found = self.rows.roomless(after, before_ms, limit).await?;
        Ok(found.into_iter().map(|of| self.names.of(of)).collect())
    }

    async fn untold(&self, pool: &str, before_ms: i64, limit: u32) -> Result<Vec<String>> {
        Ok(self.names.named(self.rows.untold(pool, before_ms, limit).await?))
    }

    async fn forget(&self, before_ms: i64, limit: u32) -> Result<()> {
        self.rows.forget(before_ms, limit).await
    }

    async fn recent_waits(
        &self,
        pool: &str,
        since_ms: i64,
        limit: u32,
    ) -> Result<Vec<(String, i64, i64)>> {
        self.rows.recent_waits(pool, since_ms, limit).await
    }

    async fn proved(&self, since_ms: i64, limit: u32) -> Result<Vec<String>> {
        self.rows.proved(since_ms, limit).await
    }

    async fn probe(&self) -> Result<Option<i64>> {
        self.rows.probe().await
    }
}
