//! The bus between processes: every source that there is, listened to for good.
//!
//! An announcement goes out on Redis; on PostgreSQL instead when Redis refuses
//! it, and on both while it is in doubt that Redis reaches everyone. Processes
//! tell each other by heartbeats, on each source once a second, that they are
//! there and whether they hear Redis. With one source it is that source alone.
//!
//! | what happens | who notices | what follows |
//! | --- | --- | --- |
//! | a source is lost here | its connection, or silence for the bound | reconnect; a gap for every topic when it listens again |
//! | Redis is lost here, or there is none, and PostgreSQL is heard | the same | the others are told and publish on both; a gap a beat after that was heard here, too: by then they know |
//! | Redis refuses a publish | the publisher | the batch goes out on PostgreSQL; where that is not heard here, everyone has a gap with the next heartbeat on Redis, too |
//! | no source that is needed takes a batch | the publisher | it fails; the heartbeats say so, and everyone has a gap with the next one |
//! | a process is heard on PostgreSQL alone: it has another Redis | the others, by its heartbeats | they publish on both |
//! | PostgreSQL is not heard, and Redis takes a batch | the publisher | its heartbeats on PostgreSQL tell of it later: a gap |
//! | a process falls silent on a source | the others, after the bound | a gap, and another when it is heard again |
//! | a process ends in order | its last heartbeat | nothing |
//! | a process is heard that was not, though it was there | its heartbeat's number | a gap |
//! | both sources deliver | receivers | a copy, known by its position |

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::{join, join_all};
use tokio::time::Instant;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Announcement, Bus, Subscription,
    ear::{Ear, Hearing},
    postgres::PostgresSource,
    pulse,
    redis::{Changes, RedisSource},
    source::Source,
    topics::Topics,
};
use crate::{Result, postgres::Postgres, redis::Redis};

/// The times of a bus, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Between two heartbeats.
    pub beat: Duration,
    /// A process, or a source, that is not heard for so long is lost; two beats
    /// when this is less.
    pub lost_after: Duration,
    /// How long `subscribe` waits for a source, after it was lost, and for its
    /// confirmation.
    pub subscribe: Duration,
    /// What the process does, for others to count: a bit each.
    pub kinds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(1),
            lost_after: Duration::from_secs(2),
            subscribe: Duration::from_millis(500),
            kinds: 0,
        }
    }
}

/// The servers of a bus.
#[derive(Clone)]
pub enum Servers {
    /// Redis alone: while it is away nothing is announced.
    Redis(Redis),
    /// PostgreSQL alone: slower, and as sure as the rows.
    Postgres(Postgres),
    /// Redis, and PostgreSQL for when it is away.
    Both(Redis, Postgres),
}

/// Which sources are heard at the moment; `None` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Redis pub/sub.
    pub redis: Option<bool>,
    /// PostgreSQL notifications.
    pub postgres: Option<bool>,
    /// Announcements go out on both: it is in doubt that Redis reaches
    /// everyone. So it is for the bound of a lost process after the start.
    pub doubled: bool,
}

/// Topics between processes. Dropped, it says farewell in the background;
/// [`Merged::close`] waits until it is said.
pub struct Merged {
    core: Arc<Core>,
    stop: CancellationToken,
    pulses: TaskTracker,
    _stops: DropGuard,
}

impl Merged {
    /// Begins to listen to the servers and returns; that they are away is no
    /// error. Must be called where tasks can be spawned.
    pub fn start(servers: Servers, options: Options) -> Self {
        // One beat may be late: it is no loss.
        let lost_after = options.lost_after.max(options.beat * 2);
        let options = Options { lost_after, ..options };
        let stop = CancellationToken::new();
        let own = rand::random();
        let changes = Arc::new(Changes::default());
        let noted = changes.clone();
        let topics = Arc::new(Topics::new(Arc::new(move |topic| noted.note(topic))));
        let ear = |name| Arc::new(Ear::new(name, topics.clone(), options, own));
        let redis = |redis| -> Arc<dyn Source> {
            let (ear, topics) = (ear("redis"), topics.clone());
            Arc::new(RedisSource::start(redis, ear, topics, changes, stop.clone()))
        };
        let postgres = |postgres| -> Arc<dyn Source> {
            Arc::new(PostgresSource::start(&postgres, ear("postgres"), stop.clone()))
        };
        let ways = match servers {
            Servers::Redis(server) => Ways::Redis(redis(server)),
            Servers::Postgres(server) => Ways::Postgres(postgres(server)),
            Servers::Both(fast, sure) => Ways::Both(redis(fast), postgres(sure)),
        };
        let core = Arc::new(Core { topics, options, ways });
        let pulses = pulse::start(&core, &stop);
        let _stops = stop.clone().drop_guard();
        Self { core, stop, pulses, _stops }
    }

    /// Which sources are heard now.
    pub fn sources(&self) -> Sources {
        let is_open = |source: &Arc<dyn Source>| source.ear().hearing().is_open();
        Sources {
            redis: self.core.ways.redis().map(is_open),
            postgres: self.core.ways.postgres().map(is_open),
            doubled: match &self.core.ways {
                Ways::Both(redis, postgres) => !everyone_hears_redis(redis.ear(), postgres.ear()),
                Ways::Redis(_) | Ways::Postgres(_) => false,
            },
        }
    }

    /// Says farewell, so that no one misses this process, and listens no more.
    /// Takes no longer than the bound of a lost process. What is published
    /// afterwards still goes out.
    pub async fn close(&self) {
        self.stop.cancel();
        self.pulses.close();
        self.pulses.wait().await;
    }
}

#[async_trait]
impl Bus for Merged {
    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        match &self.core.ways {
            Ways::Redis(source) | Ways::Postgres(source) => {
                let said = source.publish(batch).await;
                said.inspect_err(|_| owe(source, batch))
            }
            Ways::Both(redis, postgres) => announce(redis, postgres, batch).await,
        }
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        let subscription = self.core.topics.subscribe(topic);
        join_all(self.core.ways.all().map(|source| source.confirm(topic))).await;
        Ok(subscription)
    }

    fn is_heard(&self) -> bool {
        self.core.ways.all().any(|source| source.ear().hearing().is_open())
    }

    /// Of two sources that which hears more: the other is a part of it.
    fn company(&self, kinds: u64) -> Option<u32> {
        self.core.ways.all().filter_map(|source| source.ear().company(kinds)).max()
    }
}

/// What the tasks of a bus share.
pub(super) struct Core {
    pub(super) topics: Arc<Topics>,
    pub(super) options: Options,
    pub(super) ways: Ways,
}

/// The sources there are.
pub(super) enum Ways {
    Redis(Arc<dyn Source>),
    Postgres(Arc<dyn Source>),
    Both(Arc<dyn Source>, Arc<dyn Source>),
}

impl Ways {
    pub(super) fn redis(&self) -> Option<&Arc<dyn Source>> {
        match self {
            Self::Redis(source) | Self::Both(source, _) => Some(source),
            Self::Postgres(_) => None,
        }
    }

    pub(super) fn postgres(&self) -> Option<&Arc<dyn Source>> {
        match self {
            Self::Postgres(source) | Self::Both(_, source) => Some(source),
            Self::Redis(_) => None,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<dyn Source>> {
        self.redis().into_iter().chain(self.postgres())
    }

    pub(super) fn hears_redis(&self) -> bool {
        self.redis().is_some_and(|redis| redis.ear().hearing().is_open())
    }
}

/// On Redis while it is sure that everyone hears it, else on PostgreSQL too.
/// What Redis took does not wait for a PostgreSQL that is not even heard: that
/// may take until its bound, and presence does without it.
async fn announce(
    redis: &Arc<dyn Source>,
    postgres: &Arc<dyn Source>,
    batch: &[Announcement],
) -> Result<()> {
    let is_certain = everyone_hears_redis(redis.ear(), postgres.ear());
    let (fast, sure) = if is_certain || !postgres.ear().hearing().is_open() {
        match redis.publish(batch).await {
            Ok(()) if is_certain => return Ok(()),
            Ok(()) => {
                owe(postgres, batch);
                return Ok(());
            }
            refused => (refused, postgres.publish(batch).await),
        }
    } else {
        join(redis.publish(batch), postgres.publish(batch)).await
    };
    match (fast, sure) {
        // Those who do not listen to PostgreSQL either, as nobody may through a
        // pooler, have no gap by it: it may be that they hear Redis all along.
        (Err(_), Ok(())) if !postgres.ear().hearing().is_open() => {
            owe(redis, batch);
            Ok(())
        }
        // Everyone listens to PostgreSQL, or has a gap when it does again.
        (_, Ok(())) => Ok(()),
        (Ok(()), Err(error)) => {
            tracing::debug!(%error, "announced on redis alone");
            owe(postgres, batch);
            Ok(())
        }
        (Err(_), Err(error)) => {
            owe(redis, batch);
            owe(postgres, batch);
            Err(error)
        }
    }
}

/// Whoever listens to this source has a gap with the next heartbeat.
fn owe(source: &Arc<dyn Source>, batch: &[Announcement]) {
    source.ear().owed.fetch_add(batch.len() as u64, Ordering::AcqRel);
}

/// Nobody says otherwise, whoever is there is heard on the same Redis, and
/// PostgreSQL was listened to for long enough that they would be.
fn everyone_hears_redis(redis: &Ear, postgres: &Ear) -> bool {
    let Hearing::Since(listening) = postgres.hearing() else { return false };
    listening.elapsed() >= postgres.lost_after()
        && redis.hearing().is_open()
        && !redis.anyone_misses_redis()
        && !postgres.anyone_misses_redis()
        && redis.hears_all_of(postgres)
}

/// The moment from which the others, told on PostgreSQL, can know that Redis
/// does not reach this process; `None` while it does, or nothing can be told.
pub(super) fn told_others(ways: &Ways) -> Option<Instant> {
    let ear = ways.postgres()?.ear();
    // Not that it was said: a beat may be refused.
    let told = ear.own_deaf().filter(|_| ear.hearing().is_open())?;
    match ways.redis().map(|redis| redis.ear().hearing()) {
        Some(Hearing::Since(_)) => None,
        Some(Hearing::NotSince(lost)) => Some(lost.max(told)),
        None => Some(told),
    }
}
