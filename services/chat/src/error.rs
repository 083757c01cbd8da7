//! How a call of chat can fail.

use std::time::Duration;

use mingle_client::ratelimit::Denied;
use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::{Coded, Kind, render};
use mingle_store::ErrorKind;

use crate::domain::{Fault, Invalid, Refusal};

/// When to try again what a backend did not do.
const RETRY: Duration = Duration::from_millis(500);

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The state of the room forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The stream follows as many rooms as it may.
    #[error("the stream follows as many rooms as it may")]
    TooManyRooms,
    /// The sender has said as much as they may for now.
    #[error("too many messages")]
    RateLimited {
        /// When they may say more.
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
    Limit(#[source] Box<tonic::Status>),
    /// The database failed.
    #[error("the database does not serve now")]
    Store(#[from] mingle_store::Error),
    /// The store answered another question.
    #[error("unexpected answer of the store")]
    Unexpected,
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::Invalid,
            Self::Refused(refusal) => coded(*refusal).0,
            Self::TooManyRooms | Self::RateLimited { .. } => Kind::Exhausted,
            Self::Uncounted { .. } => Kind::Unavailable,
            Self::Store(error) => match error.kind() {
                ErrorKind::Unavailable => Kind::Unavailable,
                ErrorKind::Timeout => Kind::Timeout,
                _ => Kind::Internal,
            },
            Self::Limit(_) | Self::Unexpected => Kind::Internal,
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(invalid) => match invalid.fault {
                Fault::Required => Reason::Required,
                Fault::TooLong => Reason::TooLong,
                Fault::Malformed => Reason::Malformed,
            },
            Self::Refused(refusal) => coded(*refusal).1,
            Self::TooManyRooms => Reason::TooManyRooms,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::Uncounted { .. } => Reason::Unavailable,
            Self::Store(error) => match error.kind() {
                ErrorKind::Unavailable => Reason::Unavailable,
                ErrorKind::Timeout => Reason::Deadline,
                _ => Reason::Internal,
            },
            Self::Limit(_) | Self::Unexpected => Reason::Internal,
        }
    }

    fn retry_after(&self) -> Duration {
        match self {
            Self::RateLimited { retry_after } | Self::Uncounted { retry_after } => *retry_after,
            _ => RETRY,
        }
    }

    fn field(&self) -> &str {
        match self {
            Self::Invalid(invalid) => invalid.field,
            Self::Refused(refusal) => at_fault(*refusal),
            _ => "",
        }
    }
}

/// The field that names what the refusal is about.
fn at_fault(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::RoomNotFound | Refusal::RoomClosed | Refusal::RoomFull => "room_id",
        Refusal::KeyReused => "client_msg_id",
        Refusal::ExternalIdReused => "external_id",
        Refusal::MessageNotFound | Refusal::MessageDeleted => "message_id",
        Refusal::BeyondHead => "seq",
        Refusal::Nul => "body",
        Refusal::NotAllowed => "",
    }
}

fn coded(refusal: Refusal) -> (Kind, Reason) {
    match refusal {
        Refusal::RoomNotFound => (Kind::NotFound, Reason::RoomNotFound),
        Refusal::RoomClosed => (Kind::Precondition, Reason::RoomClosed),
        Refusal::RoomFull => (Kind::Exhausted, Reason::RoomFull),
        Refusal::KeyReused | Refusal::ExternalIdReused => (Kind::Exists, Reason::KeyReused),
        Refusal::MessageNotFound => (Kind::NotFound, Reason::MessageNotFound),
        Refusal::MessageDeleted => (Kind::Precondition, Reason::MessageDeleted),
        Refusal::NotAllowed => (Kind::Denied, Reason::NotAllowed),
        Refusal::BeyondHead | Refusal::Nul => (Kind::Invalid, Reason::Malformed),
    }
}

impl From<Error> for tonic::Status {
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
