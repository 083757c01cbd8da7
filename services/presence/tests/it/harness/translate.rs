//! The domain as messages, messages as the domain, refusals as answers.
//!
//! Written again for the tests, from the proto alone: the role's own mapping
//! would agree with itself.

use mingle_presence::domain::{Claim, Node, Presence, Status as Shows};
use mingle_proto::{errors::v1::Reason, presence::v1};
use mingle_runtime::status::{Described, Kind, short};
use mingle_store::{Error, ErrorKind, Result};
use tonic::Status;

/// How a refusal is told: its code and the reason in its `ErrorInfo`.
type Refusal = (Kind, Reason);

/// Of a node, or of a session.
pub(crate) const NOT_FOUND: Refusal = (Kind::NotFound, Reason::SessionNotFound);
pub(crate) const SUPERSEDED: Refusal = (Kind::Precondition, Reason::SessionSuperseded);
pub(crate) const TOO_MANY: Refusal = (Kind::Exhausted, Reason::TooManyConnections);
pub(crate) const FULL: Refusal = (Kind::Exhausted, Reason::Overloaded);

/// The answer for which `status` stands; any other one is a failure.
pub(crate) fn refused<T, const N: usize>(status: &Status, answers: [(Refusal, T); N]) -> Result<T> {
    let Described { kind, reason, .. } = Described::from(status);
    let found = answers.into_iter().find(|((at, why), _)| (*at, short(*why)) == (kind, &reason));
    found.map(|(_, answer)| answer).ok_or_else(|| failed(status))
}

/// A failure that is no answer.
pub(crate) fn failed(status: &Status) -> Error {
    let kind = match Kind::of(status.code()) {
        Kind::Unavailable => ErrorKind::Unavailable,
        Kind::Timeout => ErrorKind::Timeout,
        _ => ErrorKind::Unsupported,
    };
    Error::with_source(kind, "presence by RPC", status.clone())
}

pub(crate) fn shown(status: Option<Shows>) -> v1::Status {
    match status {
        None => v1::Status::Unspecified,
        Some(Shows::Online) => v1::Status::Online,
        Some(Shows::Away) => v1::Status::Away,
        Some(Shows::Busy) => v1::Status::Busy,
    }
}

pub(crate) fn session(claim: Claim) -> v1::Session {
    let status = shown(claim.status).into();
    let Claim { user_id, session_id, generation, connection_id, status: _ } = claim;
    v1::Session { session_id, user_id, generation, connection_id, status }
}

pub(crate) fn presence(presence: v1::Presence) -> Presence {
    let unknown = presence.status() == v1::Status::Unknown;
    let status = match presence.status() {
        v1::Status::Offline | v1::Status::Unknown => None,
        v1::Status::Online => Some(Shows::Online),
        v1::Status::Away => Some(Shows::Away),
        v1::Status::Busy => Some(Shows::Busy),
        other => panic!("{other:?} is nothing that a user shows"),
    };
    let last_seen = presence.last_seen.map(|at| at.millis());
    let (user_id, sessions) = (presence.user_id, presence.sessions);
    Presence { user_id, status, unknown, unreadable: false, last_seen, sessions }
}

pub(crate) fn registration(node: Node) -> v1::RegisterNodeRequest {
    let Node { node_id, role, version, address, generation } = node;
    let node = v1::Node { node_id, role, version, address, generation };
    v1::RegisterNodeRequest { node: Some(node) }
}

pub(crate) fn node(node: v1::Node) -> Node {
    let v1::Node { node_id, role, version, address, generation } = node;
    Node { node_id, role, version, address, generation }
}
