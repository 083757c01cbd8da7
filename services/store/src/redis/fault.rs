//! What a server's refusals mean for a caller.

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};

use crate::{Error, ErrorKind};

/// What is left of a connection after an answer, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answered, if only with an error.
    Answers,
    /// It said nothing in time.
    Silent,
    /// It is closed, or leads to a server that does not take our writes any
    /// more: the next connection may lead to one that does.
    Lost,
}

pub(super) fn verdict(error: &RedisError) -> Verdict {
    if error.is_timeout() {
        return Verdict::Silent;
    }
    match code(error).as_deref() {
        Some("READONLY" | "NOAUTH" | "WRONGPASS") => Verdict::Lost,
        Some(_) => Verdict::Answers,
        // Other errors of I/O than a timeout leave nothing to go on with.
        None if error.is_unrecoverable_error() || error.is_io_error() => Verdict::Lost,
        None => Verdict::Answers,
    }
}

/// The word that a server's error begins with.
fn code(error: &RedisError) -> Option<String> {
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.code().to_owned())
}

/// True when the script must be sent with its text.
pub(super) fn is_no_script(error: &RedisError) -> bool {
    error.kind() == Kind::Server(Server::NoScript)
}

pub(super) fn error(error: RedisError) -> Error {
    if error.is_timeout() {
        return Error::with_source(ErrorKind::Timeout, "redis call", error);
    }
    if let Some(code) = code(&error) {
        let (kind, what) = refusal(&code);
        return Error::with_source(kind, what, error);
    }
    let (kind, what) = match error.kind() {
        Kind::Parse | Kind::UnexpectedReturnType => (ErrorKind::Corrupt, "redis answer"),
        Kind::Io | Kind::AuthenticationFailed => (ErrorKind::Unavailable, "redis connection"),
        _ => (ErrorKind::Unsupported, "redis call"),
    };
    Error::with_source(kind, what, error)
}

fn refusal(code: &str) -> (ErrorKind, &'static str) {
    match code {
        "LATE" => (ErrorKind::Unavailable, "redis script: late, it did nothing"),
        "WRONGTYPE" => (ErrorKind::Corrupt, "redis value"),
        "LOADING" | "READONLY" | "OOM" | "MASTERDOWN" | "TRYAGAIN" | "BUSY" | "MISCONF"
        | "NOREPLICAS" | "CLUSTERDOWN" | "NOAUTH" | "WRONGPASS" | "UNBLOCKED" => {
            (ErrorKind::Unavailable, "redis server refuses")
        }
        _ => (ErrorKind::Unsupported, "redis server error"),
    }
}

pub(super) fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "redis is away")
}
