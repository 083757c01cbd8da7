//! Why a call fails.

use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::{Coded, Kind, render};
use mingle_store::ErrorKind;

use crate::domain::{Invalid, Why};

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The node never registered, registered in another generation, or is gone.
    #[error("node is not registered: register it and its sessions again")]
    UnknownNode,
    /// There is no such session of this user.
    #[error("no such session")]
    UnknownSession,
    /// A newer start of the same node is registered.
    #[error("generation {0} of this node is registered")]
    NodeSuperseded(u64),
    /// The user has as many live sessions as allowed.
    #[error("the user has as many connections as allowed")]
    TooManyConnections,
    /// The store holds as much as it may.
    #[error("presence holds as many {0} as it may")]
    Full(&'static str),
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] mingle_store::Error),
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::Invalid,
            Self::UnknownNode | Self::UnknownSession => Kind::NotFound,
            Self::NodeSuperseded(_) => Kind::Precondition,
            Self::TooManyConnections | Self::Full(_) => Kind::Exhausted,
            Self::Store(error) => match error.kind() {
                ErrorKind::Unavailable => Kind::Unavailable,
                ErrorKind::Timeout => Kind::Timeout,
                _ => Kind::Internal,
            },
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(invalid) => match invalid.why {
                Why::Required => Reason::Required,
                Why::TooLong => Reason::TooLong,
                Why::Malformed => Reason::Malformed,
            },
            Self::UnknownNode | Self::UnknownSession => Reason::SessionNotFound,
            Self::NodeSuperseded(_) => Reason::SessionSuperseded,
            Self::TooManyConnections => Reason::TooManyConnections,
            Self::Full(_) => Reason::Overloaded,
            Self::Store(error) => match error.kind() {
                ErrorKind::Unavailable => Reason::Unavailable,
                ErrorKind::Timeout => Reason::Deadline,
                _ => Reason::Internal,
            },
        }
    }

    fn field(&self) -> &str {
        match self {
            Self::Invalid(invalid) => &invalid.field,
            _ => "",
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        render(&error)
    }
}
