//! Between values and messages, the caller's side.

use mingle_matchmaking::{
    domain::{Liveness, Match, State, Ticket},
    store::Differs,
};
use mingle_proto::matchmaking::v1::{
    CreateTicketRequest, Liveness as WireLiveness, Ticket as WireTicket, TicketState, Wanted,
};
use mingle_runtime::status::{Described, Kind};
use mingle_store::{Error, ErrorKind, Result};
use tonic::Status;

pub(super) fn wish(ticket: &Ticket) -> CreateTicketRequest {
    let wants =
        ticket.content.wants.iter().map(|(name, values)| {
            (name.clone(), Wanted { values: values.iter().cloned().collect() })
        });
    let liveness = match ticket.liveness {
        Liveness::Presence => WireLiveness::Presence,
        Liveness::Lease => WireLiveness::Lease,
    };
    CreateTicketRequest {
        actor: ticket.user_id.clone(),
        pool: ticket.pool.clone(),
        attributes: ticket.content.attributes.clone().into_iter().collect(),
        wants: wants.collect(),
        liveness: liveness.into(),
        ..CreateTicketRequest::default()
    }
}

/// What another active ticket differs in, if that is why it failed.
pub(super) fn differs(status: &Status) -> Result<Differs> {
    let described = Described::from(status);
    match (described.kind, described.reason.as_str(), described.field.as_str()) {
        (Kind::Exists, "ALREADY_WAITING", "attributes") => Ok(Differs::Attributes),
        (Kind::Exists, "ALREADY_WAITING", "wants") => Ok(Differs::Wants),
        _ => Err(failed(status)),
    }
}

/// `None` when there is no such ticket.
pub(super) fn found(answer: Result<WireTicket, Status>) -> Result<Option<WireTicket>> {
    match answer {
        Ok(ticket) => Ok(Some(ticket)),
        Err(status) if Described::from(&status).reason == "TICKET_NOT_FOUND" => Ok(None),
        Err(status) => Err(failed(&status)),
    }
}

fn failed(status: &Status) -> Error {
    Error::with_source(ErrorKind::Unavailable, "call", status.clone())
}

/// As Watch tells it: who has nowhere to go yet still waits.
pub(super) fn shown(mut ticket: WireTicket) -> WireTicket {
    if ticket.state() == TicketState::Matched && ticket.room_id.is_empty() {
        ticket.state = TicketState::Waiting.into();
        ticket.match_id.clear();
        ticket.user_ids.clear();
    }
    ticket
}

/// The ticket that was answered; what no answer carries is as in its `row`.
pub(super) fn whole(answered: WireTicket, row: Ticket) -> Ticket {
    let state = match answered.state() {
        TicketState::Waiting => State::Waiting,
        TicketState::Matched => State::Matched,
        TicketState::Cancelled => State::Cancelled,
        TicketState::Expired => State::Expired,
        TicketState::Unspecified => panic!("{answered:?} has no state"),
    };
    let of = (!answered.match_id.is_empty()).then(|| Match {
        match_id: answered.match_id,
        user_ids: answered.user_ids,
        room_id: Some(answered.room_id).filter(|room_id| !room_id.is_empty()),
        ..row.of.expect("who is told of a match is in one")
    });
    Ticket {
        ticket_id: answered.ticket_id,
        user_id: answered.user_id,
        pool: answered.pool,
        state,
        created_at: answered.created_at.expect("a ticket has its age").millis(),
        of,
        ..row
    }
}
