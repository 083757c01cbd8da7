//! Redis pub/sub as a source; that of a cluster is [`sharded`].
//!
//! One connection of its own listens; what is published goes pipelined over
//! the connection for commands. A topic is subscribed to while it has a
//! subscriber in this process, in batches of what gathered in one round trip.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | the listening connection is lost | reconnect, subscribe again, then one gap for every topic |
//! | the sentinels name another server | the same, there |
//! | the server is frozen, the connection half open | nothing is heard for the bound, then the same |
//! | a SUBSCRIBE is not confirmed in time | the subscriber goes on, and gets a gap with the confirmation |
//! | the server refuses a publish, or no answer comes | the publish fails; whether it was heard is unknown |
//! | a frozen server wakes | what was published to it may be heard late: receivers know it by its position |
//! | this process reads too slowly | the server closes the connection at its output limit: a gap |

mod listen;
mod sharded;
mod wanted;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Announcement, ear::Ear, source::Source, topics::Topics};
use crate::{
    Error, ErrorKind, Result,
    redis::{Batch, Redis},
};
use wanted::Wanted;

pub(super) use wanted::Changes;

/// The tag of all its channels, which are no keys: nothing is stored.
const TAG: &str = "bus";
const BEAT: &str = "beat";
const TOPIC: &str = "topic:";

/// One server, published to and listened to.
pub(super) struct RedisSource {
    redis: Redis,
    ear: Arc<Ear>,
    wanted: Arc<Wanted>,
}

impl RedisSource {
    /// Listens for good to whatever `topics` wants, until `stop`.
    pub(super) fn start(
        redis: Redis,
        ear: Arc<Ear>,
        topics: Arc<Topics>,
        changes: Arc<Changes>,
        stop: CancellationToken,
    ) -> Self {
        let wanted = Arc::new(Wanted::new(topics, changes));
        let (of, by) = (ear.clone(), wanted.clone());
        match redis.cluster() {
            None => tokio::spawn(listen::Listener::new(redis.clone(), of, by).run(stop)),
            Some(all) => tokio::spawn(sharded::Listener::new(&redis, all, of, by).run(stop)),
        };
        Self { redis, ear, wanted }
    }
}

#[async_trait]
impl Source for RedisSource {
    fn ear(&self) -> &Arc<Ear> {
        &self.ear
    }

    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        let mut published = Batch::new();
        for Announcement { topic, payload } in batch {
            if self.redis.cluster().is_some() {
                let channel = sharded::channel(&self.redis, topic);
                published.tell("SPUBLISH").arg(channel).arg(&payload[..]);
            } else {
                let channel = self.redis.key(TAG, format_args!("{TOPIC}{topic}"));
                published.tell("PUBLISH").arg(channel).arg(&payload[..]);
            }
        }
        self.redis.pipeline(&published).await
    }

    async fn beat(&self, beat: Bytes) -> Result<()> {
        if let Some(cluster) = self.redis.cluster() {
            let mut beats = Batch::new();
            for channel in sharded::beats(&self.redis, cluster) {
                beats.tell("SPUBLISH").arg(channel).arg(&beat[..]);
            }
            return self.redis.pipeline(&beats).await;
        }
        let channel = self.redis.key(TAG, BEAT);
        self.redis.query(redis::cmd("PUBLISH").arg(channel).arg(&beat[..])).await
    }

    async fn confirm(&self, topic: &str) {
        let is_open = self.ear.opened().await;
        let patience = if is_open { self.ear.patience() } else { Duration::ZERO };
        self.wanted.confirmed(topic, patience).await;
    }
}

/// The listening connection ended.
fn lost(source: redis::RedisError) -> Error {
    Error::with_source(ErrorKind::Unavailable, "redis subscriptions", source)
}

fn closed() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}

/// Nothing came in time.
fn silent() -> Error {
    Error::new(ErrorKind::Timeout, "redis subscriptions")
}
