//! Why a call fails.

use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::{Coded, Kind, render};
use mingle_store::ErrorKind;

use crate::domain::{Invalid, Why};

/// A failed call. That nothing is there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] mingle_store::Error),
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::Invalid,
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
                Why::UnknownNamespace => Reason::UnknownNamespace,
            },
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
            Self::Store(_) => "",
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        render(&error)
    }
}
