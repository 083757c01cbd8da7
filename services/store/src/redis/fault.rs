//! What a server's refusals mean for a caller.

use std::io;

use redis::{ErrorKind as Kind, RedisError, ServerError, ServerErrorKind as Server};

use crate::{Error, ErrorKind};

/// What is left of a connection after an answer, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answered, if only with an error.
    Answers,
    /// It said nothing in time.
    Silent,
    /// It is closed, or leads to a server that is not what it was: one that
    /// follows another, or reads its data anew. The next connection may lead to
    /// one that serves, and is compared with the fence.
    Lost,
}

pub(super) fn verdict(error: &RedisError) -> Verdict {
    if error.is_timeout() {
        return Verdict::Silent;
    }
    match said(error).as_ref().map(ServerError::code) {
        Some("READONLY" | "MASTERDOWN" | "LOADING" | "NOAUTH" | "WRONGPASS") => Verdict::Lost,
        Some(_) => Verdict::Answers,
        // Other errors of I/O than a timeout leave nothing to go on with.
        None if error.is_unrecoverable_error() || error.is_io_error() => Verdict::Lost,
        None => Verdict::Answers,
    }
}

/// What the server said, of a pipeline the first refusal. An error is a word in
/// capitals and a text.
fn said(error: &RedisError) -> Option<ServerError> {
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.clone())
}

/// The same for a refusal that passes.
pub(super) fn refusal_of_server(error: &RedisError) -> Option<String> {
    let said = said(error)?;
    (refusal(&said).0 == ErrorKind::Unavailable).then(|| said.code().to_owned())
}

/// True when another server of the cluster is to be asked, or the same one later.
pub(crate) fn sends_elsewhere(error: &RedisError) -> bool {
    let code = said(error).map(|said| said.code().to_owned());
    matches!(code.as_deref(), Some("MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "LOADING"))
}

/// True when the script must be sent with its text.
pub(super) fn is_no_script(error: &RedisError) -> bool {
    error.kind() == Kind::Server(Server::NoScript)
}

pub(super) fn error(error: RedisError) -> Error {
    if error.is_timeout() {
        return Error::with_source(ErrorKind::Timeout, "redis call", error);
    }
    if let Some(said) = said(&error) {
        let (kind, what) = refusal(&said);
        return Error::with_source(kind, what, error);
    }
    let (kind, what) = match error.kind() {
        Kind::Parse | Kind::UnexpectedReturnType => (ErrorKind::Corrupt, "redis answer"),
        Kind::Io | Kind::AuthenticationFailed => (ErrorKind::Unavailable, "redis connection"),
        _ => (ErrorKind::Unsupported, "redis call"),
    };
    Error::with_source(kind, what, error)
}

fn refusal(said: &ServerError) -> (ErrorKind, &'static str) {
    match said.code() {
        "LATE" => (ErrorKind::Unavailable, "redis script: late, it did nothing"),
        "WRONGTYPE" => (ErrorKind::Corrupt, "redis value"),
        "LOADING" | "READONLY" | "OOM" | "MASTERDOWN" | "TRYAGAIN" | "BUSY" | "MISCONF"
        | "NOREPLICAS" | "CLUSTERDOWN" | "MOVED" | "ASK" | "NOAUTH" | "WRONGPASS" | "NOPERM"
        | "UNBLOCKED" => (ErrorKind::Unavailable, "redis server refuses"),
        "ERR" if said.details().is_some_and(is_no_leave) => {
            (ErrorKind::Unavailable, "redis server refuses")
        }
        // "max number of clients reached", and what hosted servers say of the
        // requests of a day.
        "ERR" if said.details().is_some_and(|detail| detail.starts_with("max ")) => {
            (ErrorKind::Unavailable, "redis server is at its limit")
        }
        _ => (ErrorKind::Unsupported, "redis server error"),
    }
}

/// NOPERM, of a command in a script: in the words of Redis 7.0, and of those after it.
pub(crate) fn is_no_leave(detail: &str) -> bool {
    ["The user executing", "ACL failure in script"].iter().any(|begin| detail.starts_with(begin))
}

pub(crate) fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "redis is away")
}

/// Nothing was said in time.
pub(crate) fn silent() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// That the fence cannot be asked, to whoever is about to connect.
pub(super) fn of_fence(error: Error) -> RedisError {
    io::Error::other(error).into()
}
