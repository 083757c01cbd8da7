//! The roles a process can have.

use std::{fmt, str::FromStr};

/// One service, or the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// HTTP and WebSocket for clients.
    Gateway,
    /// Finds partners.
    Matchmaking,
    /// Rooms and messages.
    Chat,
    /// Who is online.
    Presence,
    /// How often someone may do something.
    Ratelimit,
    /// Values that are dear to compute.
    Cache,
}

impl Role {
    /// Every role, in the order in which a process drains them: whoever calls
    /// goes before whom it calls.
    pub const ALL: [Self; 6] = [
        Self::Gateway,
        Self::Matchmaking,
        Self::Chat,
        Self::Presence,
        Self::Ratelimit,
        Self::Cache,
    ];

    /// Its place among the roles of a process, as a bit.
    pub const fn bit(self) -> u64 {
        1 << self as u64
    }

    /// Its name on the command line, in configuration and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Matchmaking => "matchmaking",
            Self::Chat => "chat",
            Self::Presence => "presence",
            Self::Ratelimit => "ratelimit",
            Self::Cache => "cache",
        }
    }

    /// The roles that it calls. The graph has no cycle.
    pub const fn calls(self) -> &'static [Self] {
        match self {
            Self::Gateway => {
                &[Self::Matchmaking, Self::Chat, Self::Presence, Self::Ratelimit, Self::Cache]
            }
            Self::Matchmaking => &[Self::Chat, Self::Presence, Self::Ratelimit],
            Self::Chat => &[Self::Ratelimit, Self::Cache],
            Self::Presence | Self::Ratelimit | Self::Cache => &[],
        }
    }

    /// True when it serves less while `server` is away; of one that is not known
    /// here nobody can say that it does not.
    pub fn uses(self, server: &str) -> bool {
        match server {
            "database" | "notifications" => matches!(self, Self::Chat | Self::Matchmaking),
            _ => self != Self::Gateway,
        }
    }

    /// Where it serves gRPC when it has a process of its own; the port of its
    /// probes is higher by 1000.
    pub const fn port(self) -> u16 {
        match self {
            Self::Gateway => 50050,
            Self::Cache => 50051,
            Self::Ratelimit => 50052,
            Self::Presence => 50053,
            Self::Matchmaking => 50054,
            Self::Chat => 50055,
        }
    }

    /// The full name of its gRPC service; the gateway has none.
    pub const fn service(self) -> Option<&'static str> {
        match self {
            Self::Gateway => None,
            Self::Matchmaking => Some("mingle.matchmaking.v1.MatchmakingService"),
            Self::Chat => Some("mingle.chat.v1.ChatService"),
            Self::Presence => Some("mingle.presence.v1.PresenceService"),
            Self::Ratelimit => Some("mingle.ratelimit.v1.RateLimitService"),
            Self::Cache => Some("mingle.cache.v1.CacheService"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is not one of a role.
#[derive(Debug, thiserror::Error)]
#[error("unknown role {0:?}; roles are gateway, matchmaking, chat, presence, ratelimit, cache")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| UnknownRole(name.to_owned()))
    }
}
