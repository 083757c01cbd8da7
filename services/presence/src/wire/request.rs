//! Requests, checked.

use mingle_proto::presence::v1;

use super::fields;
use crate::domain::{Claim, Ended, Invalid, Node, Status, Why};

/// Users or sessions in one message.
const MAX_ITEMS: usize = 1000;

/// `RegisterNode`.
pub(crate) struct Registration(pub(crate) Node);

impl TryFrom<v1::RegisterNodeRequest> for Registration {
    type Error = Invalid;

    fn try_from(request: v1::RegisterNodeRequest) -> Result<Self, Invalid> {
        let node =
            request.node.ok_or_else(|| Invalid::new("node", Why::Required, "is required"))?;
        Ok(Self(Node {
            node_id: fields::node_id("node.node_id", node.node_id)?,
            role: fields::description("node.role", node.role)?,
            version: fields::description("node.version", node.version)?,
            address: fields::description("node.address", node.address)?,
            generation: fields::generation("node.generation", node.generation)?,
        }))
    }
}

/// `RenewNode`.
pub(crate) struct Renewal {
    /// Which node.
    pub(crate) node_id: String,
    /// Which start of it.
    pub(crate) generation: u64,
}

impl TryFrom<v1::RenewNodeRequest> for Renewal {
    type Error = Invalid;

    fn try_from(request: v1::RenewNodeRequest) -> Result<Self, Invalid> {
        Ok(Self {
            node_id: fields::node_id("node_id", request.node_id)?,
            generation: fields::generation("generation", request.generation)?,
        })
    }
}

/// `RegisterSessions`.
pub(crate) struct Claims {
    /// The node that holds them.
    pub(crate) node_id: String,
    /// At most 1,000.
    pub(crate) claims: Vec<Claim>,
}

impl TryFrom<v1::RegisterSessionsRequest> for Claims {
    type Error = Invalid;

    fn try_from(request: v1::RegisterSessionsRequest) -> Result<Self, Invalid> {
        fields::at_most("sessions", request.sessions.len(), MAX_ITEMS)?;
        let node_id = fields::node_id("node_id", request.node_id)?;
        let claims = request.sessions.into_iter().enumerate().map(|(at, session)| {
            claim_of(session).map_err(|invalid| Invalid {
                field: format!("sessions[{at}].{}", invalid.field),
                ..invalid
            })
        });
        Ok(Self { node_id, claims: claims.collect::<Result<_, _>>()? })
    }
}

fn claim_of(session: v1::Session) -> Result<Claim, Invalid> {
    Ok(Claim {
        user_id: fields::id("user_id", session.user_id)?,
        session_id: fields::id("session_id", session.session_id)?,
        generation: fields::generation("generation", session.generation)?,
        connection_id: fields::id("connection_id", session.connection_id)?,
        status: fields::status("status", session.status)?,
    })
}

/// `Connect`.
pub(crate) struct Socket {
    /// The node that holds it.
    pub(crate) node_id: String,
    /// What it asks for.
    pub(crate) claim: Claim,
}

impl TryFrom<v1::ConnectRequest> for Socket {
    type Error = Invalid;

    fn try_from(request: v1::ConnectRequest) -> Result<Self, Invalid> {
        let node_id = fields::node_id("node_id", request.node_id)?;
        let claim = claim_of(v1::Session {
            session_id: request.session_id,
            user_id: request.user_id,
            generation: request.generation,
            connection_id: request.connection_id,
            status: request.status,
        })?;
        Ok(Self { node_id, claim })
    }
}

/// `Disconnect` and `SetStatus`: a session and what befalls it.
pub(crate) struct Target<T> {
    /// Whose.
    pub(crate) user_id: String,
    /// Which.
    pub(crate) session_id: String,
    /// The socket that ended, or the status to show.
    pub(crate) what: T,
}

/// A socket that ended: its generation and, if it is named, its id.
pub(crate) struct Ending {
    generation: u64,
    connection_id: Option<String>,
}

impl Ending {
    pub(crate) fn ended(&self) -> Ended<'_> {
        Ended { generation: self.generation, connection_id: self.connection_id.as_deref() }
    }
}

impl TryFrom<v1::DisconnectRequest> for Target<Ending> {
    type Error = Invalid;

    fn try_from(request: v1::DisconnectRequest) -> Result<Self, Invalid> {
        Ok(Self {
            user_id: fields::id("user_id", request.user_id)?,
            session_id: fields::id("session_id", request.session_id)?,
            what: Ending {
                generation: fields::generation("generation", request.generation)?,
                connection_id: Some(request.connection_id)
                    .filter(|id| !id.is_empty())
                    .map(|id| fields::id("connection_id", id))
                    .transpose()?,
            },
        })
    }
}

impl TryFrom<v1::SetStatusRequest> for Target<Status> {
    type Error = Invalid;

    fn try_from(request: v1::SetStatusRequest) -> Result<Self, Invalid> {
        let status = fields::status("status", request.status)?;
        let unspecified = || Invalid::new("status", Why::Required, "must be ONLINE, AWAY or BUSY");
        Ok(Self {
            user_id: fields::id("user_id", request.user_id)?,
            session_id: fields::id("session_id", request.session_id)?,
            what: status.ok_or_else(unspecified)?,
        })
    }
}

/// One user.
pub(crate) fn user(user_id: String) -> Result<String, Invalid> {
    fields::id("user_id", user_id)
}

/// At most 1,000 users; `field` is where they stand.
pub(crate) fn users(field: &str, user_ids: Vec<String>) -> Result<Vec<String>, Invalid> {
    fields::at_most(field, user_ids.len(), MAX_ITEMS)?;
    let checked = user_ids.into_iter().enumerate();
    // The field's name is made only for a fault: this is read for each call.
    let checked = checked.map(|(at, user_id)| {
        fields::id("", user_id)
            .map_err(|invalid| Invalid { field: format!("{field}[{at}]"), ..invalid })
    });
    checked.collect()
}

/// What a Watch stream is asked to do.
pub(crate) enum Action {
    /// Follow the sessions of this node.
    Node(String),
    /// Follow these users too.
    Add(Vec<String>),
    /// No longer follow these users.
    Remove(Vec<String>),
}

impl TryFrom<v1::WatchRequest> for Action {
    type Error = Invalid;

    fn try_from(request: v1::WatchRequest) -> Result<Self, Invalid> {
        use v1::watch_request::Action as Wire;
        match request.action {
            Some(Wire::Node(node)) => {
                Ok(Self::Node(fields::node_id("node.node_id", node.node_id)?))
            }
            Some(Wire::Add(added)) => Ok(Self::Add(users("add.user_ids", added.user_ids)?)),
            Some(Wire::Remove(removed)) => {
                Ok(Self::Remove(users("remove.user_ids", removed.user_ids)?))
            }
            None => Err(Invalid::new("action", Why::Required, "is required")),
        }
    }
}
