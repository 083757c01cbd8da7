//! `/api/match`: waiting without a socket. The ticket holds a lease of 30 s,
//! which each read renews.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use mingle_proto::{errors::v1::Reason, gateway::v1 as pb, matchmaking::v1 as mm};
use tonic::Request;

use super::{
    access::{Caller, Id, Query},
    body::{Body, Reply},
};
use crate::{fault::Fault, gateway::Gateway, hub::tickets::Wish, translate, ws::wants};

/// Beyond the wait that was asked for, so that the answer still arrives.
const SLACK: Duration = Duration::from_secs(4);

/// `POST /api/match/tickets`
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Body(body): Body<pb::TicketBody>,
) -> Result<Reply<pb::TicketView>, Fault> {
    let request = mm::CreateTicketRequest {
        actor: caller.actor(),
        pool: body.pool,
        attributes: body.attributes,
        wants: wants(body.wants)?,
        trusted_attributes: caller.0.attrs.into_iter().collect(),
        liveness: mm::Liveness::Lease.into(),
        told_ticket_ids: Vec::new(),
        request_id: String::new(),
    };
    let ticket = gateway.attempts.create(gateway.matchmaking(), request).await?;
    told(&gateway, Some(ticket))
}

/// `GET /api/match/tickets/{id}?wait=25s`
pub(super) async fn read(
    State(gateway): State<Arc<Gateway>>,
    Id(ticket_id): Id,
    caller: Caller,
    query: Query,
) -> Result<Reply<pb::TicketView>, Fault> {
    let wait_ms = query.only(&["wait"])?.duration_ms("wait")?;
    let actor = caller.actor();
    let request = |wait_ms| {
        let (actor, ticket_id) = (actor.clone(), ticket_id.clone());
        let mut request = Request::new(mm::GetTicketRequest { actor, ticket_id, wait_ms });
        request.set_timeout(Duration::from_millis(wait_ms.into()) + SLACK);
        request
    };
    let mut client = gateway.matchmaking();
    let answer = tokio::select! {
        answer = client.get_ticket(request(wait_ms)) => answer.map_err(said)?,
        // A gateway that goes away does not wait: the answer is how it stands.
        () = gateway.ctx.stop.cancelled() => gateway.matchmaking().get_ticket(request(0)).await?,
    };
    told(&gateway, answer.into_inner().ticket)
}

/// `DELETE /api/match/tickets/{id}`
pub(super) async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    Id(ticket_id): Id,
    caller: Caller,
) -> Result<Reply<pb::TicketView>, Fault> {
    let request = mm::CancelTicketRequest { actor: caller.actor(), ticket_id };
    let answer = gateway.matchmaking().cancel_ticket(request).await?.into_inner();
    told(&gateway, answer.ticket)
}

/// `GET /api/match/pools/{pool}`
pub(super) async fn pool(
    State(gateway): State<Arc<Gateway>>,
    Id(pool): Id,
    _caller: Caller,
) -> Result<Reply<pb::PoolView>, Fault> {
    let request = mm::PoolStatsRequest { pool: pool.clone() };
    let stats = gateway.matchmaking().pool_stats(request).await?.into_inner();
    Ok(Reply(pb::PoolView {
        pool,
        waiting: stats.waiting,
        matches_last_minute: stats.matches_last_minute,
        median_wait_ms: stats.median_wait_ms,
    }))
}

/// The service's `wait_ms` is our `wait`.
fn said(status: tonic::Status) -> Fault {
    let fault = Fault::from(status);
    if fault.field == "waitMs" {
        return Fault::invalid(Reason::Malformed, "wait", "wait is at most 25s");
    }
    fault
}

/// An answer that names the room tells the outcome.
fn told(gateway: &Gateway, ticket: Option<mm::Ticket>) -> Result<Reply<pb::TicketView>, Fault> {
    let ticket = ticket.unwrap_or_default();
    if !ticket.room_id.is_empty() {
        gateway.tickets.wish(Wish::Told(ticket.ticket_id.as_str().into()));
    }
    Ok(Reply(translate::ticket_view(ticket)))
}
