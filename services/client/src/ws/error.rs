//! What can go wrong between a client and its gateway.

use mingle_proto::gateway::v1;
use tokio_tungstenite::tungstenite;

use super::close::Close;

/// What a call answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection could not be made, or the upgrade was refused.
    #[error("cannot connect: {0}")]
    Connect(#[source] Box<tungstenite::Error>),
    /// The connection is over. 1006: without a close frame.
    #[error("closed with {code}: {reason}")]
    Closed {
        /// The close code.
        code: u16,
        /// What the gateway said to it.
        reason: String,
    },
    /// The request was refused. Match on its reason, never on its message.
    #[error("{}: {}: {}", .0.code, .0.reason, .0.message)]
    Refused(v1::Error),
    /// No answer in time; the outcome is unknown. Retry with the same key.
    #[error("no answer in time; the outcome is unknown")]
    Timeout,
    /// As many events wait as may: nothing more is read, and the outcome of the
    /// request is unknown. Take events, then retry with the same key.
    #[error("{0} events wait and are not taken")]
    Backlog(usize),
    /// The gateway's frame is not one of the protocol.
    #[error("malformed frame: {0}")]
    Malformed(String),
    /// The reply is of another kind than the request asks for.
    #[error("unexpected reply: {0:?}")]
    Unexpected(Box<v1::server_frame::Kind>),
}

impl Error {
    /// The gateway's close code, when it closed with one of its own.
    pub fn close(&self) -> Option<Close> {
        match self {
            Self::Closed { code, .. } => Close::of(*code),
            _ => None,
        }
    }

    /// The reason of a refusal; empty for other failures.
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused(error) => &error.reason,
            _ => "",
        }
    }
}
