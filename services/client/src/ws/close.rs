//! Why the gateway closes a WebSocket, and what a client does then.
//!
//! Codes are in the range that RFC 6455 leaves to applications (4000 to 4999).
//! They are part of the protocol: a code is never given another meaning.

/// A close code of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// 4001: the token is missing, forged or for somebody else.
    Unauthenticated,
    /// 4002: the token was good and is no longer.
    TokenExpired,
    /// 4003: the page's origin is not among those allowed.
    OriginNotAllowed,
    /// 4004: the first frame did not come in time, or was not a hello.
    HelloTimeout,
    /// 4005: the user has as many connections as they may.
    TooManyConnections,
    /// 4006: nothing was heard from the client for too long.
    Idle,
    /// 4007: the client does not speak the protocol.
    ProtocolError,
    /// 4008: the client reads more slowly than events come.
    Slow,
    /// 4009: a newer socket holds the session.
    Superseded,
    /// 4010: the process is going away; another one serves.
    Draining,
    /// 4011: the server is shedding load.
    Overloaded,
}

/// What a client does by itself after a close. Every wait has full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Nothing: the same attempt would end the same way. A person decides.
    Never,
    /// Fetch a new token, then connect and resume. When the new token is
    /// refused with `Unauthenticated` too, nothing.
    WithNewToken,
    /// Connect and resume, with back-off: nothing is lost.
    WithResume,
    /// Connect and resume after the delay that `draining` or the refusal of the
    /// hello told; without one, with back-off.
    AfterDelay,
}

impl Close {
    /// Every close code, ascending.
    pub const ALL: [Self; 11] = [
        Self::Unauthenticated,
        Self::TokenExpired,
        Self::OriginNotAllowed,
        Self::HelloTimeout,
        Self::TooManyConnections,
        Self::Idle,
        Self::ProtocolError,
        Self::Slow,
        Self::Superseded,
        Self::Draining,
        Self::Overloaded,
    ];

    /// The table: code, reason, retry rule.
    const fn row(self) -> (u16, &'static str, Retry) {
        match self {
            Self::Unauthenticated => (4001, "unauthenticated", Retry::WithNewToken),
            Self::TokenExpired => (4002, "token expired", Retry::WithNewToken),
            Self::OriginNotAllowed => (4003, "origin not allowed", Retry::Never),
            Self::HelloTimeout => (4004, "hello timeout", Retry::WithResume),
            Self::TooManyConnections => (4005, "too many connections", Retry::Never),
            Self::Idle => (4006, "idle", Retry::WithResume),
            Self::ProtocolError => (4007, "protocol error", Retry::Never),
            Self::Slow => (4008, "slow", Retry::WithResume),
            Self::Superseded => (4009, "superseded", Retry::Never),
            Self::Draining => (4010, "draining", Retry::AfterDelay),
            Self::Overloaded => (4011, "overloaded", Retry::AfterDelay),
        }
    }

    /// The code in the close frame.
    pub const fn code(self) -> u16 {
        self.row().0
    }

    /// The text in the close frame: at most 123 bytes, for people.
    pub const fn reason(self) -> &'static str {
        self.row().1
    }

    /// What a client does by itself.
    pub const fn retry(self) -> Retry {
        self.row().2
    }

    /// The meaning of `code`; `None` when it is not one of the gateway's (RFC
    /// 6455's own, such as 1006 for a lost connection: [`Retry::WithResume`]).
    pub fn of(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|close| close.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::Close;

    #[test]
    fn codes_are_4001_to_4011_and_read_back() {
        let codes: Vec<_> = Close::ALL.map(Close::code).into();
        assert_eq!(codes, (4001..=4011).collect::<Vec<_>>());
        for close in Close::ALL {
            assert_eq!(Close::of(close.code()), Some(close));
        }
        assert_eq!(Close::of(1006), None);
    }
}
