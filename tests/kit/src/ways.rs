//! The ways from one process of a deployment to what it calls, each a
//! [`Proxy`] of its own.

use std::{fmt, net::SocketAddr};

use crate::Proxy;

/// Where a way leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum To {
    /// To Redis.
    Redis,
    /// To PostgreSQL.
    Postgres,
    /// To a process of this role, by its number.
    Peer(&'static str, usize),
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis => f.write_str("redis"),
            Self::Postgres => f.write_str("postgres"),
            Self::Peer(role, nth) => write!(f, "{role} {nth}"),
        }
    }
}

/// All ways from one process.
pub(crate) struct Ways(Vec<(To, Proxy)>);

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(to, way)| (to, way.traffic()))).finish()
    }
}

impl Ways {
    /// Opens a way to each of these.
    pub(crate) async fn open(places: &[(To, SocketAddr)]) -> Self {
        let mut ways = Vec::new();
        for (to, address) in places {
            ways.push((*to, Proxy::to(*address).await));
        }
        Self(ways)
    }

    /// The way there.
    pub(crate) fn to(&self, wanted: To) -> Option<&Proxy> {
        self.0.iter().find(|(to, _)| *to == wanted).map(|(_, way)| way)
    }
}
