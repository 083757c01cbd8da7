//! Tickets as their owners see them, and how they are asked for.

use std::{sync::Arc, time::Duration};

use mingle_proto::{
    Timestamp,
    errors::v1::Reason,
    matchmaking::v1::{Ticket as WireTicket, TicketIds, TicketState},
};

use super::Refusal;
use crate::domain::{Pool, State, Ticket, pool::Pools};

const MAX_ACTOR: usize = 128;
const MAX_POOL: usize = 64;
const MAX_WAIT_MS: u32 = 25_000;
/// Ids of one `WatchRequest`.
const MAX_IDS: usize = 1_000;

/// Which ticket, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketQuery {
    /// Who asks.
    pub actor: String,
    /// What is asked for; `None` when no ticket can have such an id.
    pub ticket_id: Option<String>,
}

/// Validates a question for one ticket.
pub fn owned(actor_name: &str, ticket_id: String) -> Result<TicketQuery, Refusal> {
    let actor = actor(actor_name)?;
    if ticket_id.is_empty() {
        return Err(Refusal::new("ticket_id", Reason::Required, "is required"));
    }
    let ticket_id = Some(ticket_id).filter(|id| can_be_id(id));
    Ok(TicketQuery { actor, ticket_id })
}

/// Validates the name of a user.
pub(super) fn actor(actor: &str) -> Result<String, Refusal> {
    if actor.is_empty() {
        return Err(Refusal::new("actor", Reason::Required, "is required"));
    }
    if actor.chars().count() > MAX_ACTOR {
        let why = format!("is longer than {MAX_ACTOR} characters");
        return Err(Refusal::new("actor", Reason::TooLong, why));
    }
    if actor.chars().any(char::is_control) {
        return Err(Refusal::new("actor", Reason::Malformed, "has control characters"));
    }
    Ok(actor.to_owned())
}

/// Finds a pool by its name.
pub fn pool(name: &str, pools: &Pools) -> Result<Arc<Pool>, Refusal> {
    if name.is_empty() {
        return Err(Refusal::new("pool", Reason::Required, "is required"));
    }
    if name.chars().count() > MAX_POOL {
        let why = format!("is longer than {MAX_POOL} characters");
        return Err(Refusal::new("pool", Reason::TooLong, why));
    }
    let unknown = || Refusal::new("pool", Reason::UnknownPool, "is not configured");
    pools.get(name).cloned().ok_or_else(unknown)
}

/// Validates a time to wait.
pub fn wait(wait_ms: u32) -> Result<Duration, Refusal> {
    if wait_ms > MAX_WAIT_MS {
        let why = format!("is more than {MAX_WAIT_MS}");
        return Err(Refusal::new("wait_ms", Reason::TooLong, why));
    }
    Ok(Duration::from_millis(wait_ms.into()))
}

/// Validates the ids of a `WatchRequest`; those that no ticket can have are
/// answered apart.
pub fn short_ids(field: &str, ids: TicketIds) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let field = format!("{field}.ticket_ids");
    if ids.ticket_ids.len() > MAX_IDS {
        let why = format!("has {} entries, more than {MAX_IDS}", ids.ticket_ids.len());
        return Err(Refusal::new(field, Reason::TooLong, why));
    }
    Ok(ids.ticket_ids.into_iter().partition(|id| can_be_id(id)))
}

/// The characters and length of a UUID; saves a look at the rows.
fn can_be_id(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// A ticket as it is announced: one whose match has no room yet still waits,
/// because its owner is told of a match when there is somewhere to go.
pub fn settled(ticket: &Ticket) -> WireTicket {
    let mut wire = WireTicket::from(ticket);
    if !ticket.is_settled() {
        wire.state = TicketState::Waiting.into();
        wire.match_id.clear();
        wire.user_ids.clear();
    }
    wire
}

impl From<&Ticket> for WireTicket {
    fn from(ticket: &Ticket) -> Self {
        let state = match ticket.state {
            State::Waiting => TicketState::Waiting,
            State::Matched => TicketState::Matched,
            State::Cancelled => TicketState::Cancelled,
            State::Expired => TicketState::Expired,
        };
        let of = ticket.of.as_ref();
        Self {
            ticket_id: ticket.ticket_id.clone(),
            user_id: ticket.user_id.clone(),
            pool: ticket.pool.clone(),
            state: state.into(),
            created_at: Some(Timestamp::from_millis(ticket.created_at)),
            match_id: of.map(|of| of.match_id.clone()).unwrap_or_default(),
            room_id: ticket.room_id().unwrap_or_default().to_owned(),
            user_ids: of.map(|of| of.user_ids.clone()).unwrap_or_default(),
        }
    }
}
