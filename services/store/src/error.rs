//! The one error of every backend.
//!
//! Who failed stays in the source; what callers need is the kind, and whether
//! waiting can help. Backends never build a gRPC status.

use std::{error::Error as StdError, fmt, sync::Arc};

use sqlx::{error::DatabaseError, postgres::PgDatabaseError};

/// A backend's answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The backend cannot be reached or refuses work. Transient.
    Unavailable,
    /// No answer in time: whether it happened is unknown. Transient.
    Timeout,
    /// Another writer was first.
    Conflict,
    /// What is stored cannot be read as what was written.
    Corrupt,
    /// The backend cannot do this at all.
    Unsupported,
}

impl ErrorKind {
    /// As metrics tell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A failure of a backend. Cheap to clone: one failed batch answers many.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    what: &'static str,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    is_undone: bool,
}

impl Error {
    /// A failure of `kind` while doing `what`.
    pub fn new(kind: ErrorKind, what: &'static str) -> Self {
        Self { kind, what, source: None, is_undone: false }
    }

    /// The same with its cause.
    pub fn with_source(
        kind: ErrorKind,
        what: &'static str,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self { kind, what, source: Some(Arc::new(source)), is_undone: false }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// True when the same call may succeed later. Unless it [is
    /// undone](Self::is_undone), it may also have succeeded already: retry by a
    /// request key.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// The same of a call that is known to have changed nothing.
    #[must_use]
    pub fn undone(self) -> Self {
        Self { is_undone: true, ..self }
    }

    /// True when the call is known to have changed nothing: it was not begun, or
    /// was rolled back. False when nobody knows.
    pub fn is_undone(&self) -> bool {
        self.is_undone
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.what, self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let (kind, what) = match &error {
            // Nothing was begun: the outcome is known.
            E::PoolTimedOut => (ErrorKind::Unavailable, "database pool"),
            E::Io(_)
            | E::Protocol(_)
            | E::BeginFailed
            | E::InvalidSavePointStatement
            | E::PoolClosed
            | E::WorkerCrashed
            | E::Tls(_) => (ErrorKind::Unavailable, "database connection"),
            E::Database(db) if db.is_unique_violation() => {
                (ErrorKind::Conflict, "database constraint")
            }
            E::Database(db) => (database_kind(&**db), "database statement"),
            E::ColumnDecode { .. } | E::Decode(_) | E::ColumnNotFound(_) | E::RowNotFound => {
                (ErrorKind::Corrupt, "database row")
            }
            _ => (ErrorKind::Unsupported, "database"),
        };
        Self::with_source(kind, what, error)
    }
}

/// SQLite's primary result codes that pass by themselves: busy (5), locked
/// (6), out of memory (7), I/O (10), full (13), cannot open (14).
fn database_kind(error: &dyn DatabaseError) -> ErrorKind {
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return crate::postgres::kind(error.code());
    }
    let code = error.code();
    let primary = code.as_deref().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    match primary {
        Some(5 | 6 | 7 | 10 | 13 | 14) => ErrorKind::Unavailable,
        Some(11 | 26) => ErrorKind::Corrupt,
        _ => ErrorKind::Unsupported,
    }
}
