//! Why a server cannot be used, as far as its operator can mend it.

use std::{error::Error as StdError, io};

use redis::{RedisError, ServerError};
use sqlx::postgres::PgDatabaseError;

use crate::{Error, ErrorKind, redis::fault};

/// PostgreSQL is older than what is needed.
pub(crate) const OLD: &str = "postgres is older than 15";
/// PostgreSQL follows another one.
pub(crate) const STANDBY: &str = "postgres is a standby";
/// PostgreSQL acknowledges before a commit is kept.
pub(crate) const LAX: &str =
    "postgres has synchronous_commit=off: it acknowledges what a crash loses";

/// What is to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nothing listens at that address.
    NobodyThere,
    /// The name is no host's, or there is no way to it.
    NoWay,
    /// No answer in time.
    Silent,
    /// Closed before it said anything that could be read.
    Closed,
    /// One side wants TLS and the other does not, or does not trust it.
    Tls,
    /// The user or the password is not accepted.
    Login,
    /// There is no such database.
    NoDatabase,
    /// No sentinel knows a primary of this name.
    NoPrimary,
    /// The user may not do this.
    Permission,
    /// It takes no more connections.
    Full,
    /// It starts, or ends.
    Starting,
    /// It follows another one and takes no writes.
    Follower,
    /// It is too old.
    Old,
    /// It acknowledges what a crash loses.
    Lax,
    /// Something else: the words say what.
    Other,
}

impl Error {
    /// What is to be mended.
    pub fn why(&self) -> Why {
        let source = StdError::source(self);
        if let Some(error) = source.and_then(<dyn StdError>::downcast_ref::<sqlx::Error>) {
            return of_database(error, &self.words());
        }
        if let Some(error) = source.and_then(<dyn StdError>::downcast_ref::<RedisError>) {
            return of_redis(error);
        }
        match self.to_string() {
            text if text.starts_with(OLD) => Why::Old,
            text if text.starts_with(STANDBY) => Why::Follower,
            text if text.starts_with(LAX) => Why::Lax,
            _ if self.kind() == ErrorKind::Timeout => Why::Silent,
            _ => Why::Other,
        }
    }

    /// What the server or the way to it said, for a person: without our kinds, and
    /// without the lines of the server's own source.
    pub fn words(&self) -> String {
        let Some(source) = StdError::source(self) else {
            let text = self.to_string();
            let kind = format!(": {:?}", self.kind());
            let what = text.strip_suffix(&kind).unwrap_or(&text);
            let late = if self.kind() == ErrorKind::Timeout { ": no answer in time" } else { "" };
            return format!("{what}{late}");
        };
        if let Some(sqlx::Error::Database(said)) = source.downcast_ref() {
            return said.message().to_owned();
        }
        if let Some(said) = source.downcast_ref().and_then(said) {
            return [Some(said.code()), said.details()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ");
        }
        let mut last: &dyn StdError = source;
        while let Some(cause) = last.source() {
            last = cause;
        }
        last.to_string()
    }
}

fn of_database(error: &sqlx::Error, words: &str) -> Why {
    match error {
        sqlx::Error::Io(error) => of_io(error),
        sqlx::Error::Tls(_) => Why::Tls,
        sqlx::Error::PoolTimedOut => Why::Silent,
        sqlx::Error::Protocol(_) => Why::Closed,
        sqlx::Error::Database(said) => {
            let code = said.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::code);
            of_code(code.unwrap_or_default(), words)
        }
        _ => Why::Other,
    }
}

/// **Source**: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_code(code: &str, words: &str) -> Why {
    match code {
        // pg_hba.conf takes this user by TLS, or by plain text.
        "28000" if words.contains("no encryption") || words.contains("SSL") => Why::Tls,
        "28P01" | "28000" => Why::Login,
        // What poolers say of both.
        "08P01" if words.contains("password") || words.contains("auth") => Why::Login,
        "3D000" => Why::NoDatabase,
        "08P01" if words.contains("no such database") => Why::NoDatabase,
        "42501" => Why::Permission,
        "53300" => Why::Full,
        "57P01" | "57P02" | "57P03" => Why::Starting,
        "25006" => Why::Follower,
        _ => Why::Other,
    }
}

fn of_redis(error: &RedisError) -> Why {
    if error.is_timeout() {
        return Why::Silent;
    }
    if let Some(said) = said(error) {
        return match said.code() {
            "NOAUTH" | "WRONGPASS" => Why::Login,
            "NOPERM" | "DENIED" => Why::Permission,
            "LOADING" => Why::Starting,
            "READONLY" | "MASTERDOWN" => Why::Follower,
            "ERR" if said.details().is_some_and(fault::is_no_leave) => Why::Permission,
            "ERR" if said.details().is_some_and(|text| text.starts_with("max ")) => Why::Full,
            "ERR" if said.details().is_some_and(|text| text.starts_with("No such master")) => {
                Why::NoPrimary
            }
            _ => Why::Other,
        };
    }
    match error.kind() {
        redis::ErrorKind::AuthenticationFailed => Why::Login,
        _ => StdError::source(error)
            .and_then(<dyn StdError>::downcast_ref)
            .map_or_else(|| of_text(&error.to_string()), of_io),
    }
}

fn said(error: &RedisError) -> Option<ServerError> {
    error.clone().into_server_errors()?.first().map(|(_, error)| error.clone())
}

fn of_io(error: &io::Error) -> Why {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused | Kind::NotFound => Why::NobodyThere,
        Kind::HostUnreachable | Kind::NetworkUnreachable => Why::NoWay,
        Kind::TimedOut => Why::Silent,
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe => Why::Closed,
        Kind::ConnectionAborted => Why::Closed,
        _ => of_text(&error.to_string()),
    }
}

/// What has no kind of its own in the standard library.
fn of_text(text: &str) -> Why {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["lookup address", "resolve"]) {
        Why::NoWay
    } else if has(&["certificate", "InvalidContentType", "handshake", "tls", "TLS"]) {
        Why::Tls
    } else if has(&["refused"]) {
        Why::NobodyThere
    } else if has(&["broken pipe", "closed", "reset", "end of file", "eof"]) {
        Why::Closed
    } else {
        Why::Other
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_the_servers_and_the_way_say_is_told_apart() {
        let io = |kind, text: &str| Error::from(sqlx::Error::Io(io::Error::new(kind, text))).why();
        assert_eq!(io(io::ErrorKind::ConnectionRefused, "x"), Why::NobodyThere);
        assert_eq!(io(io::ErrorKind::Other, "failed to lookup address information"), Why::NoWay);
        assert_eq!(io(io::ErrorKind::UnexpectedEof, "x"), Why::Closed);
        for (code, words, why) in [
            ("28P01", "password authentication failed", Why::Login),
            ("28000", "no pg_hba.conf entry for host, no encryption", Why::Tls),
            ("3D000", "database does not exist", Why::NoDatabase),
            ("53300", "sorry, too many clients already", Why::Full),
            ("08P01", "no such database: x", Why::NoDatabase),
            ("42P01", "relation does not exist", Why::Other),
        ] {
            assert_eq!(of_code(code, words), why, "{code} {words}");
        }
        for (what, why) in [(OLD, Why::Old), (STANDBY, Why::Follower), (LAX, Why::Lax)] {
            let error = Error::new(ErrorKind::Unsupported, what);
            assert_eq!((error.why(), &*error.words()), (why, what));
        }
        let late = Error::new(ErrorKind::Timeout, "redis connection");
        assert_eq!(
            (late.why(), &*late.words()),
            (Why::Silent, "redis connection: no answer in time")
        );
    }
}
