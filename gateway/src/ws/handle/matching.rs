//! `matchJoin`, `matchLeave`.

use std::{collections::HashMap, sync::Arc};

use mingle_proto::{
    ListValue,
    errors::v1::Reason,
    gateway::v1::{self as pb, server_frame},
    matchmaking::v1 as mm,
    value,
};

use super::Reply;
use crate::{
    fault::Fault,
    gateway::Gateway,
    translate,
    ws::{replay::Job, session::Session},
};

/// Starts to wait; the socket is told when it is over.
pub(crate) async fn join(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    join: pb::MatchJoin,
) -> Result<Reply, Fault> {
    gateway.tickets.check()?;
    let request = mm::CreateTicketRequest {
        actor: session.actor(),
        pool: join.pool,
        attributes: join.attributes,
        wants: wants(join.wants)?,
        trusted_attributes: session.claims.attrs.clone().into_iter().collect(),
        liveness: mm::Liveness::Presence.into(),
        told_ticket_ids: session.told(),
        request_id: String::new(),
    };
    let ticket = gateway.attempts.create(gateway.matchmaking(), request).await?;
    let id: Arc<str> = ticket.ticket_id.as_str().into();
    let (mut jobs, mut told) = (Vec::<Job>::new(), None);
    // A match without its room yet is still to be told.
    if ticket.state() == mm::TicketState::Waiting || ticket.room_id.is_empty() {
        session.add_ticket(id.clone());
        let (gateway, session) = (gateway.clone(), session.clone());
        // After the reply, which precedes the match.
        jobs.push(Box::pin(async move {
            gateway.tickets.wait(id, session.socket, session.outbox.clone()).await;
        }));
    } else {
        told = Some(id);
    }
    let kind = server_frame::Kind::Ticket(translate::ticket(ticket));
    Ok(Reply { jobs, told, ..kind.into() })
}

/// Stops to wait; the reply says how the ticket ended.
pub(crate) async fn leave(
    gateway: &Gateway,
    session: &Session,
    leave: pb::MatchLeave,
) -> Result<Reply, Fault> {
    if leave.ticket_id.is_empty() {
        return Err(Fault::required("ticketId"));
    }
    let (actor, ticket_id) = (session.actor(), leave.ticket_id);
    let request = mm::CancelTicketRequest { actor, ticket_id: ticket_id.clone() };
    let answer = gateway.matchmaking().cancel_ticket(request).await?.into_inner();
    let ticket = answer.ticket.unwrap_or_default();
    if ticket.state() != mm::TicketState::Matched {
        session.remove_ticket(&ticket_id);
        gateway.tickets.forget(&ticket_id.as_str().into(), session.socket);
    }
    Ok(server_frame::Kind::Ticket(translate::ticket(ticket)).into())
}

/// Accepted values by attribute: in the frame a list of strings each.
pub(crate) fn wants(
    wants: HashMap<String, ListValue>,
) -> Result<HashMap<String, mm::Wanted>, Fault> {
    let wanted = |(attribute, list): (String, ListValue)| {
        let text = |value: mingle_proto::Value| match value.kind {
            Some(value::Kind::StringValue(text)) => Ok(text),
            _ => {
                let field = format!("wants.{attribute}");
                Err(Fault::invalid(Reason::Malformed, field, "wants are lists of strings"))
            }
        };
        let values = list.values.into_iter().map(text).collect::<Result<_, _>>()?;
        Ok((attribute, mm::Wanted { values }))
    };
    wants.into_iter().map(wanted).collect()
}
