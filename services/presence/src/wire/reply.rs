//! What is answered.

use mingle_proto::{Timestamp, presence::v1};

use crate::domain::{Lost, Node, Presence, Status};

/// One user's presence as a message.
pub(crate) fn presence(presence: Presence) -> v1::Presence {
    let status = match presence.status {
        Some(Status::Online) => v1::Status::Online,
        Some(Status::Away) => v1::Status::Away,
        Some(Status::Busy) => v1::Status::Busy,
        None if presence.unknown => v1::Status::Unknown,
        None => v1::Status::Offline,
    };
    v1::Presence {
        user_id: presence.user_id,
        status: status.into(),
        last_seen: presence.last_seen.map(Timestamp::from_millis),
        sessions: presence.sessions,
    }
}

/// What the node of a lost session is told.
pub(crate) fn superseded(lost: Lost) -> v1::Superseded {
    v1::Superseded {
        session_id: lost.session_id,
        generation: lost.generation,
        connection_id: lost.connection_id,
    }
}

impl From<Node> for v1::Node {
    fn from(node: Node) -> Self {
        Self {
            node_id: node.node_id,
            role: node.role,
            version: node.version,
            address: node.address,
            generation: node.generation,
        }
    }
}
