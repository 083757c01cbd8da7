//! What a batch writes, as the JSON that its statements take.

use mingle_store::Result;
use serde::Serialize;

use super::rows;
use crate::domain::{Match, Ticket};

#[derive(Serialize)]
pub(super) struct TicketRecord<'a> {
    ticket_id: &'a str,
    user_id: &'a str,
    pool: &'a str,
    attributes: String,
    wants: String,
    state: &'static str,
    liveness: &'static str,
    lease_until: Option<i64>,
    created_at: i64,
    expires_at: i64,
    ended_at: Option<i64>,
    match_id: Option<&'a str>,
    told: bool,
}

impl<'a> TicketRecord<'a> {
    pub(super) fn new(ticket: &'a Ticket) -> Result<Self> {
        Ok(Self {
            ticket_id: &ticket.ticket_id,
            user_id: &ticket.user_id,
            pool: &ticket.pool,
            attributes: rows::text(&ticket.content.attributes)?,
            wants: rows::text(&ticket.content.wants)?,
            state: rows::state_text(ticket.state),
            liveness: rows::liveness_text(ticket.liveness),
            lease_until: ticket.lease_until,
            created_at: ticket.created_at,
            expires_at: ticket.expires_at,
            ended_at: ticket.ended_at,
            match_id: ticket.of.as_ref().map(|of| of.match_id.as_str()),
            told: ticket.told,
        })
    }
}

#[derive(Serialize)]
pub(super) struct MatchRecord<'a> {
    match_id: &'a str,
    pool: &'a str,
    ticket_ids: String,
    user_ids: String,
    created_at: i64,
}

impl<'a> MatchRecord<'a> {
    pub(super) fn new(of: &'a Match) -> Result<Self> {
        Ok(Self {
            match_id: &of.match_id,
            pool: &of.pool,
            ticket_ids: rows::text(&of.ticket_ids)?,
            user_ids: rows::text(&of.user_ids)?,
            created_at: of.created_at,
        })
    }
}

#[derive(Serialize)]
pub(super) struct RoomRecord<'a> {
    pub(super) match_id: &'a str,
    pub(super) room_id: &'a str,
    pub(super) completed_at: i64,
}
