//! Who reads, and what.

use anyhow::ensure;
use mingle_proto::{
    cache::v1::{
        GetManyRequest, GetRequest, Outcome, ReadMode, cache_service_client::CacheServiceClient,
    },
    presence::v1::{self, presence_service_client::PresenceServiceClient},
};
use rand::Rng as _;
use tonic::transport::Channel;

use crate::load::Caller;

pub(super) const NAMESPACE: &str = "default";
/// Of which no process has anything in its memory.
pub(super) const FAR: &str = "far";
pub(super) const KEYS: usize = 10_000;
/// Keys of one call of several.
const MANY: usize = 100;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value in the memory of the process.
    Near,
    /// One that is read from Redis, whose tag is known.
    Far,
    /// One that is read from Redis, and then its tag.
    Through,
    /// Many from memory in one call.
    Many,
    /// Many from Redis in one call.
    ManyThrough,
    /// A bare call.
    Echo,
}

impl Kind {
    pub(super) const OURS: [Self; 5] =
        [Self::Near, Self::Far, Self::Through, Self::Many, Self::ManyThrough];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Near | Self::Echo => "Get from memory",
            Self::Far => "Get from Redis",
            Self::Through => "Get with READ_THROUGH",
            Self::Many => "GetMany of 100 from memory",
            Self::ManyThrough => "GetMany of 100 with READ_THROUGH",
        }
    }

    pub(super) fn keys(self) -> f64 {
        if matches!(self, Self::Many | Self::ManyThrough) { MANY as f64 } else { 1.0 }
    }

    fn namespace(self) -> String {
        if self == Self::Far { FAR } else { NAMESPACE }.to_owned()
    }

    fn mode(self) -> i32 {
        let through = matches!(self, Self::Through | Self::ManyThrough);
        if through { ReadMode::ReadThrough } else { ReadMode::Unspecified }.into()
    }
}

#[derive(Clone)]
pub(super) struct Reads {
    pub(super) kind: Kind,
    pub(super) channel: Channel,
}

impl Caller for Reads {
    async fn call(&mut self) -> anyhow::Result<()> {
        let (kind, namespace) = (self.kind, self.kind.namespace());
        let from = rand::rng().random_range(0..KEYS - MANY);
        let mut cache = CacheServiceClient::new(self.channel.clone());
        match kind {
            Kind::Echo => {
                let user_id = "somebody".to_owned();
                let mut floor = PresenceServiceClient::new(self.channel.clone());
                floor.get(v1::GetRequest { user_id }).await?;
            }
            Kind::Near | Kind::Far | Kind::Through => {
                let (key, mode) = (from.to_string(), kind.mode());
                let request = GetRequest { namespace, key, mode, ..GetRequest::default() };
                let read = cache.get(request).await?.into_inner();
                ensure!(read.outcome() == Outcome::Hit && !read.degraded, "{:?}", read.outcome());
            }
            Kind::Many | Kind::ManyThrough => {
                let keys = (from..from + MANY).map(|n| n.to_string()).collect();
                let mode = kind.mode();
                let request = GetManyRequest { namespace, keys, mode, ..GetManyRequest::default() };
                let read = cache.get_many(request).await?.into_inner().results;
                let hits = read.iter().filter(|read| read.outcome() == Outcome::Hit);
                ensure!(hits.count() == MANY, "not all of them");
            }
        }
        Ok(())
    }
}
