//! PostgreSQL LISTEN/NOTIFY as a source.
//!
//! One connection listens to one channel for good, so that following a topic
//! costs the server nothing; another publishes. Both are direct ones, past any
//! pooler. What is published gathers for 2 ms, is packed into notifications of
//! less than 7,500 bytes and sent by one statement, in a transaction of its
//! own with `synchronous_commit=off`: inside a writer's transaction NOTIFY
//! would hold a lock of the whole cluster through its commit.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | there is a transaction pooler and no way past it | nothing is listened to: LISTEN would stay in a session that others are given, and break their calls (seen) |
//! | LISTEN is taken and nothing is ever heard: the direct way leads through a pooler too | it is no source |
//! | the listening connection is lost (restart, fail-over, terminated) | reconnect, LISTEN, then one gap for every topic |
//! | the server is frozen, the connection half open | nothing is heard for the bound, then the same |
//! | a payload that no notification can carry | a gap for the subscribers of its topic |
//! | the server refuses, or does not answer in time | the publish fails; whether it was heard is unknown |
//! | a frozen server wakes | what was published to it may be heard late: receivers know it by its position |
//! | a notification of another version | a gap for every topic |
//! | the notification queue of the server is full (8 GB) | the publish fails |

mod frame;
mod listen;
mod publish;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Announcement, ear::Ear, source::Source};
use crate::{Result, postgres::Postgres};
use frame::Piece;
use publish::Publisher;

/// The channel of all topics: of this database alone.
const CHANNEL: &str = "mingle_bus";

/// One database, published to and listened to.
pub(super) struct PostgresSource {
    ear: Arc<Ear>,
    publisher: Publisher,
}

impl PostgresSource {
    /// Listens for good, until `stop`.
    pub(super) fn start(postgres: &Postgres, ear: Arc<Ear>, stop: CancellationToken) -> Self {
        let publisher = Publisher::start(postgres.direct());
        if postgres.may_listen() {
            tokio::spawn(listen::run(postgres.direct(), ear.clone(), stop));
        }
        Self { ear, publisher }
    }
}

#[async_trait]
impl Source for PostgresSource {
    fn ear(&self) -> &Arc<Ear> {
        &self.ear
    }

    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        self.publisher.publish(batch.iter().map(Piece::of).collect()).await
    }

    async fn beat(&self, beat: Bytes) -> Result<()> {
        self.publisher.publish(vec![Piece::Beat(beat)]).await
    }

    /// The one channel is listened to whatever the topic.
    async fn confirm(&self, _: &str) {
        self.ear.opened().await;
    }
}
