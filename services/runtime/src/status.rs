//! The one table from kinds of failure to gRPC codes and HTTP statuses, and
//! the one rendering of a failure as a `tonic::Status`.
//!
//! A service's error says its kind, its reason and the field at fault by
//! implementing [`Coded`]; [`render`] does the rest. [`Described`] is the way
//! back, for the gateway: it never reads message text.

use std::{collections::HashMap, time::Duration};

use mingle_proto::errors::v1::Reason;
use rand::Rng as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every `google.rpc.ErrorInfo` of Mingle.
pub const DOMAIN: &str = "mingle";
/// What a caller is told to wait when nothing better is known.
const RETRY: Duration = Duration::from_millis(500);
/// What those who wait for an outage are told, by the time of the error.
const SPREAD: std::ops::Range<f64> = 0.5..2.0;

/// How a call can fail; a restricted set of the gRPC codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong whatever the state of the system.
    Invalid,
    /// There is no such thing, or it is not the caller's.
    NotFound,
    /// It is there already, with other content.
    Exists,
    /// The state of the thing forbids it.
    Precondition,
    /// The caller may see it, not change it.
    Denied,
    /// It is not known who calls.
    Unauthenticated,
    /// A bound of the service is reached.
    Exhausted,
    /// A backend or service is away. The same request may succeed later.
    Unavailable,
    /// No answer in time; the outcome is unknown.
    Timeout,
    /// A defect of the server.
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Invalid,
        Self::NotFound,
        Self::Exists,
        Self::Precondition,
        Self::Denied,
        Self::Unauthenticated,
        Self::Exhausted,
        Self::Unavailable,
        Self::Timeout,
        Self::Internal,
    ];

    /// The table: gRPC code, its name, HTTP status.
    const fn row(self) -> (Code, &'static str, u16) {
        match self {
            Self::Invalid => (Code::InvalidArgument, "INVALID_ARGUMENT", 400),
            Self::NotFound => (Code::NotFound, "NOT_FOUND", 404),
            Self::Exists => (Code::AlreadyExists, "ALREADY_EXISTS", 409),
            Self::Precondition => (Code::FailedPrecondition, "FAILED_PRECONDITION", 412),
            Self::Denied => (Code::PermissionDenied, "PERMISSION_DENIED", 403),
            Self::Unauthenticated => (Code::Unauthenticated, "UNAUTHENTICATED", 401),
            Self::Exhausted => (Code::ResourceExhausted, "RESOURCE_EXHAUSTED", 429),
            Self::Unavailable => (Code::Unavailable, "UNAVAILABLE", 503),
            Self::Timeout => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", 504),
            Self::Internal => (Code::Internal, "INTERNAL", 500),
        }
    }

    /// The gRPC code.
    pub const fn grpc(self) -> Code {
        self.row().0
    }

    /// The gRPC code by name, as clients of the gateway read it.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    pub const fn http(self) -> u16 {
        self.row().2
    }

    /// True when the same request may succeed later.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Timeout | Self::Exhausted)
    }

    /// The kind of a code; those outside the set are defects, but for
    /// `CANCELLED`, which is what a vanished peer looks like.
    pub fn of(code: Code) -> Self {
        match code {
            Code::Cancelled => Self::Unavailable,
            Code::OutOfRange => Self::Invalid,
            Code::Aborted => Self::Unavailable,
            _ => Self::ALL.into_iter().find(|kind| kind.grpc() == code).unwrap_or(Self::Internal),
        }
    }
}

/// An error that can be told to a caller.
pub trait Coded: std::error::Error {
    /// How it failed.
    fn kind(&self) -> Kind;
    /// Why, for programs.
    fn reason(&self) -> Reason;
    /// The field at fault, as a proto path; empty when it is none.
    fn field(&self) -> &str {
        ""
    }
    /// When to try again; only read for transient kinds.
    fn retry_after(&self) -> Duration {
        RETRY
    }
}

/// Renders `error`. A defect is logged here, once, with its causes, and told
/// to the caller without them.
pub fn render(error: &impl Coded) -> Status {
    let kind = error.kind();
    let message = if kind == Kind::Internal {
        log_defect(error);
        "internal error".to_owned()
    } else {
        error.to_string()
    };
    status(kind, error.reason(), error.field(), message, error.retry_after())
}

/// A status without an error type of its own: the stacks' refusals.
pub fn refuse(kind: Kind, reason: Reason, message: impl Into<String>) -> Status {
    status(kind, reason, "", message.into(), RETRY)
}

fn status(kind: Kind, reason: Reason, field: &str, message: String, retry: Duration) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(short(reason), DOMAIN, HashMap::new());
    if !field.is_empty() {
        details.add_bad_request_violation(field, &message);
    }
    if kind.is_transient() && !is_bound(reason) {
        // A quota knows its moment; an outage must not call all back in one.
        let spread = if kind == Kind::Exhausted { 1.0 } else { rand::rng().random_range(SPREAD) };
        details.set_retry_info(Some(retry.mul_f64(spread)));
    }
    Status::with_error_details(kind.grpc(), message, details)
}

/// Bounds that waiting does not move: the caller must give something up.
fn is_bound(reason: Reason) -> bool {
    matches!(reason, Reason::TooManyRooms | Reason::TooManyConnections | Reason::RoomFull)
}

fn log_defect(error: &dyn std::error::Error) {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let chain: Vec<_> = causes.map(ToString::to_string).collect();
    tracing::error!(%error, causes = chain.join(": "), "call failed by a defect");
}

/// The reason as it travels: without the prefix of its enum.
pub fn short(reason: Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name)
}

/// A failure read back from a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// How it failed.
    pub kind: Kind,
    /// Why: a [`Reason`] without its prefix.
    pub reason: String,
    /// The proto path of the field at fault; empty when it is none.
    pub field: String,
    /// For humans.
    pub message: String,
    /// When to try again, if that makes sense.
    pub retry_after: Option<Duration>,
}

impl From<&Status> for Described {
    fn from(status: &Status) -> Self {
        let kind = Kind::of(status.code());
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.clone());
        let violation = details.bad_request().and_then(|bad| bad.field_violations.first().cloned());
        let retry = details.retry_info().and_then(|info| info.retry_delay);
        Self {
            kind,
            reason: reason.unwrap_or_else(|| short(default_reason(kind)).to_owned()),
            field: violation.map(|violation| violation.field).unwrap_or_default(),
            message: status.message().to_owned(),
            retry_after: retry
                .or(matches!(kind, Kind::Unavailable | Kind::Timeout).then_some(RETRY)),
        }
    }
}

/// For statuses that did not come from [`render`]: a transport's.
fn default_reason(kind: Kind) -> Reason {
    match kind {
        Kind::Invalid => Reason::Malformed,
        Kind::Unauthenticated => Reason::TokenInvalid,
        Kind::Exhausted => Reason::Overloaded,
        Kind::Unavailable => Reason::Unavailable,
        Kind::Timeout => Reason::Deadline,
        _ => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {

    use mingle_proto::errors::v1::Reason;
    use tonic::Code;

    use super::{Coded, Described, Kind, RETRY, render};

    #[derive(Debug, thiserror::Error)]
    #[error("body is longer than 8192 bytes")]
    struct TooLong(Kind);

    impl Coded for TooLong {
        fn kind(&self) -> Kind {
            self.0
        }
        fn reason(&self) -> Reason {
            Reason::TooLong
        }
        fn field(&self) -> &str {
            "body"
        }
    }

    #[test]
    fn the_table_has_one_row_per_kind() {
        let rows: Vec<_> = Kind::ALL.map(|kind| (kind.name(), kind.http())).into();
        let expected = [
            ("INVALID_ARGUMENT", 400),
            ("NOT_FOUND", 404),
            ("ALREADY_EXISTS", 409),
            ("FAILED_PRECONDITION", 412),
            ("PERMISSION_DENIED", 403),
            ("UNAUTHENTICATED", 401),
            ("RESOURCE_EXHAUSTED", 429),
            ("UNAVAILABLE", 503),
            ("DEADLINE_EXCEEDED", 504),
            ("INTERNAL", 500),
        ];
        assert_eq!(rows, expected);
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.grpc()), kind);
        }
    }

    #[test]
    fn a_rendered_error_reads_back_as_it_was() {
        let described = Described::from(&render(&TooLong(Kind::Invalid)));
        assert_eq!(described.kind, Kind::Invalid);
        assert_eq!(described.reason, "TOO_LONG");
        assert_eq!(described.field, "body");
        assert_eq!(described.message, "body is longer than 8192 bytes");
        assert_eq!(described.retry_after, None);
        let described = Described::from(&render(&TooLong(Kind::Unavailable)));
        let retry_after = described.retry_after.unwrap();
        assert!((RETRY / 2..RETRY * 2).contains(&retry_after), "{retry_after:?}");
    }

    #[test]
    fn a_defect_keeps_its_causes_to_itself() {
        let status = render(&TooLong(Kind::Internal));
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "internal error");
    }
}
