//! The service as its callers see it.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use mingle_proto::matchmaking::v1::{
    CancelTicketRequest, CancelTicketResponse, CreateTicketRequest, CreateTicketResponse,
    GetTicketRequest, GetTicketResponse, ListPoolsRequest, ListPoolsResponse, PoolStatsRequest,
    PoolStatsResponse, PoolSummary, WatchRequest, WatchResponse,
    matchmaking_service_server::MatchmakingService,
};
use mingle_store::clock::Clock as _;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use super::{Matcher, watch::Watch};
use crate::{
    domain::{Liveness, Snapshot, State, Ticket},
    error::Error,
    store::End,
    wire::{self, TicketQuery},
};

/// Calls of GetTicket that wait at the same time.
const MAX_WAITS: usize = 1024;
/// Pools that are told of at once.
const MAX_POOLS: usize = 100;

/// `mingle.matchmaking.v1.MatchmakingService`.
#[derive(Clone)]
pub struct Service {
    matcher: Arc<Matcher>,
    recheck: Duration,
    waits: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Service {
    /// Serves `matcher`; what is followed is read again each `recheck`.
    pub fn new(matcher: Arc<Matcher>, recheck: Duration, ctx: &mingle_runtime::Context) -> Self {
        let waits = Arc::new(Semaphore::new(MAX_WAITS));
        Self { matcher, recheck, waits, tasks: ctx.tasks.clone(), stop: ctx.stop.clone() }
    }

    /// Reads a ticket of its owner and renews its lease. An owner who polls and
    /// sees the outcome was told it.
    async fn visit(&self, actor: &str, ticket_id: &str) -> Result<Ticket, Error> {
        let found = self.matcher.tickets.get(&[ticket_id.to_owned()]).await?.pop();
        let ticket = found.filter(|it| it.user_id == actor).ok_or(Error::TicketNotFound)?;
        if ticket.liveness == Liveness::Lease {
            self.touch(&ticket).await?;
        }
        Ok(ticket)
    }

    async fn touch(&self, ticket: &Ticket) -> Result<(), Error> {
        let pool = self.matcher.pools.get(&ticket.pool);
        match (ticket.state, pool) {
            (State::Waiting, Some(pool)) => {
                let until = self.matcher.clock.now_ms() + pool.rules().lease_ms;
                self.matcher.tickets.renew(&ticket.ticket_id, until).await?;
            }
            (State::Matched, _) if ticket.is_settled() && !ticket.told => {
                self.matcher.tickets.told(vec![ticket.ticket_id.clone()]).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until the ticket is settled, by announcements and, in case one was
    /// lost, a look at the row now and then.
    async fn wait(&self, query: TicketQuery, wait: Duration) -> Result<Ticket, Error> {
        let ticket_id = query.ticket_id.ok_or(Error::TicketNotFound)?;
        // A wait holds one of the process's places for calls: they are not all
        // for waits. Without a place the state now is the answer.
        let place = self.waits.try_acquire();
        let end = Instant::now() + if place.is_ok() { wait } else { Duration::ZERO };
        let mut inbox = self.matcher.feed.inbox();
        inbox.follow(&ticket_id);
        loop {
            let ticket = self.visit(&query.actor, &ticket_id).await?;
            if ticket.is_settled() || Instant::now() >= end || self.stop.is_cancelled() {
                return Ok(ticket);
            }
            tokio::select! {
                _ = inbox.recv() => {}
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep_until(end.min(Instant::now() + self.recheck)) => {}
            }
        }
    }
}

type Watching = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl MatchmakingService for Service {
    async fn create_ticket(
        &self,
        request: Request<CreateTicketRequest>,
    ) -> Result<Response<CreateTicketResponse>, Status> {
        let join = wire::join(request.into_inner(), &self.matcher.pools).map_err(Error::from)?;
        let ticket = self.matcher.create(join).await?;
        Ok(Response::new(CreateTicketResponse { ticket: Some((&ticket).into()) }))
    }

    async fn get_ticket(
        &self,
        request: Request<GetTicketRequest>,
    ) -> Result<Response<GetTicketResponse>, Status> {
        let GetTicketRequest { actor, ticket_id, wait_ms } = request.into_inner();
        let query = wire::owned(&actor, ticket_id).map_err(Error::from)?;
        let wait = wire::wait(wait_ms).map_err(Error::from)?;
        let ticket = self.wait(query, wait).await?;
        Ok(Response::new(GetTicketResponse { ticket: Some((&ticket).into()) }))
    }

    async fn cancel_ticket(
        &self,
        request: Request<CancelTicketRequest>,
    ) -> Result<Response<CancelTicketResponse>, Status> {
        let CancelTicketRequest { actor, ticket_id } = request.into_inner();
        let query = wire::owned(&actor, ticket_id).map_err(Error::from)?;
        let ticket_id = query.ticket_id.ok_or(Error::TicketNotFound)?;
        let ended = self.matcher.end(&ticket_id, Some(&query.actor), End::Cancelled).await;
        let ended = ended.map_err(Error::from)?.ok_or(Error::TicketNotFound)?;
        if ended.ticket.liveness == Liveness::Lease {
            self.touch(&ended.ticket).await?;
        }
        Ok(Response::new(CancelTicketResponse { ticket: Some((&ended.ticket).into()) }))
    }

    type WatchStream = Watching;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Watching>, Status> {
        let matcher = self.matcher.clone();
        let (tasks, stop) = (&self.tasks, self.stop.clone());
        let replies = Watch::start(matcher, request.into_inner(), self.recheck, tasks, stop);
        Ok(Response::new(Box::pin(replies)))
    }

    async fn list_pools(
        &self,
        _request: Request<ListPoolsRequest>,
    ) -> Result<Response<ListPoolsResponse>, Status> {
        let mut pools: Vec<_> = self.matcher.pools.values().cloned().collect();
        pools.sort_by(|one, other| one.name().cmp(other.name()));
        pools.truncate(MAX_POOLS);
        let told = pools.iter().map(async |pool| {
            let (waiting, recent) = self.matcher.stats(pool).await.map_err(Error::from)?;
            let stats = Some(told(waiting, recent));
            Ok::<_, Error>(PoolSummary { pool: pool.name().to_owned(), stats })
        });
        let pools = futures::future::try_join_all(told).await?;
        Ok(Response::new(ListPoolsResponse { pools }))
    }

    async fn pool_stats(
        &self,
        request: Request<PoolStatsRequest>,
    ) -> Result<Response<PoolStatsResponse>, Status> {
        let name = request.into_inner().pool;
        let pool = wire::pool(&name, &self.matcher.pools).map_err(Error::from)?;
        let (waiting, recent) = self.matcher.stats(&pool).await.map_err(Error::from)?;
        Ok(Response::new(told(waiting, recent)))
    }
}

fn told(waiting: u64, recent: Snapshot) -> PoolStatsResponse {
    PoolStatsResponse {
        waiting,
        matches_last_minute: recent.matches_last_minute,
        median_wait_ms: recent.median_wait_ms,
    }
}
