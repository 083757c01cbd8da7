//! Where a server of a cluster sends who asks for what it does not have.
//!
//! **Source**: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#redirection-and-resharding>

use redis::{ErrorKind, RedisError, ServerErrorKind};

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
        let to = || {
            let (address, slot) = error.redirect_node()?;
            let (host, port) = address.rsplit_once(':')?;
            Some((slot, (host.to_owned(), port.parse().ok()?)))
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                to().map(|(slot, to)| Self::Moved(slot, to))
            }
            ErrorKind::Server(ServerErrorKind::Ask) => to().map(|(_, to)| Self::Ask(to)),
            ErrorKind::Server(ServerErrorKind::TryAgain) => Some(Self::Again),
            _ => None,
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
