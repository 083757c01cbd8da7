//! How a call can fail.

use std::time::Duration;

use mingle_client::ratelimit::Denied;
use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::{Coded, Kind, render};
use mingle_store::ErrorKind;
use tonic::Status;

use crate::{store::Differs, wire::Refusal};

/// When to try again what a backend did not do.
const RETRY: Duration = Duration::from_millis(500);

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
    /// The user has joined as often as they may for now.
    #[error("too many joins")]
    RateLimited {
        /// When they may join again.
        retry_after: Duration,
    },
    /// Nobody can count the limit, and it is closed then.
    #[error("the limit cannot be counted now")]
    Uncounted {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The limit cannot be charged as it is asked.
    #[error("the limit cannot be charged")]
    Limit(#[source] Box<Status>),
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
            Self::TooManyTickets | Self::RateLimited { .. } => Kind::Exhausted,
            Self::Limit(_) => Kind::Internal,
            Self::Uncounted { .. } => Kind::Unavailable,
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
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::Limit(_) => Reason::Internal,
            Self::Uncounted { .. } => Reason::Unavailable,
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

    fn retry_after(&self) -> Duration {
        match self {
            Self::RateLimited { retry_after } | Self::Uncounted { retry_after } => *retry_after,
            _ => RETRY,
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

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Limited { retry_after } => Self::RateLimited { retry_after },
            Denied::Closed { retry_after } => Self::Uncounted { retry_after },
            Denied::Broken(status) => Self::Limit(status),
        }
    }
}
