//! Where a server of a cluster sends who asks for what it does not have.
//!
//! **Source**: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#redirection-and-resharding>

use redis::RedisError;

use crate::redis::place::Address;

/// See the module. Whoever is sent elsewhere has executed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) enum Redirect {
    /// Another server has this slot.
    Moved(u16, Address),
    /// Another server is about to have the slot and has these keys by now.
    Ask(Address),
    /// Some of the keys are here and some are not: the slot is on its way.
    Again,
}

impl Redirect {
    /// `None` when it says something else.
    pub(in crate::redis) fn read(error: &RedisError) -> Option<Self> {
        let errors = error.clone().into_server_errors()?;
        let (_, said) = errors.first()?;
        let to = || {
            let (slot, address) = said.details()?.split_once(' ')?;
            let (host, port) = address.trim().rsplit_once(':')?;
            Some((slot.parse().ok()?, (host.to_owned(), port.parse().ok()?)))
        };
        match said.code() {
            // It does not know the name of that one.
            "MOVED" | "ASK" if to().is_some_and(|(_, (host, _))| host == "?") => Some(Self::Again),
            "MOVED" => to().map(|(slot, to)| Self::Moved(slot, to)),
            "ASK" => to().map(|(_, to)| Self::Ask(to)),
            "TRYAGAIN" => Some(Self::Again),
            _ => None,
        }
    }

    /// Without a host it is the one that was asked.
    pub(in crate::redis) fn by(self, asked: &str) -> Self {
        let named = |(host, port): Address| {
            if host.is_empty() { (asked.to_owned(), port) } else { (host, port) }
        };
        match self {
            Self::Moved(slot, to) => Self::Moved(slot, named(to)),
            Self::Ask(to) => Self::Ask(named(to)),
            Self::Again => Self::Again,
        }
    }

    /// For the metric.
    pub(in crate::redis) fn kind(&self) -> &'static str {
        match self {
            Self::Moved(..) => "moved",
            Self::Ask(_) => "ask",
            Self::Again => "tryagain",
        }
    }
}
