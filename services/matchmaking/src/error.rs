//! How a call can fail.

use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::{Coded, Kind, render};
use mingle_store::ErrorKind;
use tonic::Status;

use crate::{store::Differs, wire::Refusal};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong whatever the state of the system.
    #[error("{} {}", .0.field, .0.why)]
    Refused(Refusal),
    /// There is no such ticket, or it is another's.
    #[error("no such ticket")]
    TicketNotFound,
    /// The user waits already, with other content.
    #[error("already waiting in this pool with other {}", self.field())]
    AlreadyWaiting(Differs),
    /// One stream follows as many tickets as it may.
    #[error("the stream follows as many tickets as it may")]
    TooManyTickets,
    /// A backend failed.
    #[error("the tickets cannot be read or written now")]
    Store(#[from] mingle_store::Error),
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(_) => Kind::Invalid,
            Self::TicketNotFound => Kind::NotFound,
            Self::AlreadyWaiting(_) => Kind::Exists,
            Self::TooManyTickets => Kind::Exhausted,
            Self::Store(error) => match error.kind() {
                ErrorKind::Unavailable => Kind::Unavailable,
                ErrorKind::Timeout => Kind::Timeout,
                _ => Kind::Internal,
            },
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Refused(refusal) => refusal.reason,
            Self::TicketNotFound => Reason::TicketNotFound,
            Self::AlreadyWaiting(_) => Reason::AlreadyWaiting,
            Self::TooManyTickets => Reason::Overloaded,
            Self::Store(error) => match error.kind() {
                ErrorKind::Unavailable => Reason::Unavailable,
                ErrorKind::Timeout => Reason::Deadline,
                _ => Reason::Internal,
            },
        }
    }

    fn field(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.field,
            Self::TicketNotFound => "ticket_id",
            Self::AlreadyWaiting(Differs::Attributes) => "attributes",
            Self::AlreadyWaiting(Differs::Wants) => "wants",
            _ => "",
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        render(&error)
    }
}
