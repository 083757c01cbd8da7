//! The listening connection to one server of a cluster.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    bus::{ear::Ear, redis::TOPIC},
    redis::link::answered,
};

/// Channels in one round trip. One command each: the server refuses those of
/// several slots in one.
const BATCH: usize = 1_000;

/// What a line came to; with its number, as it may be of one that is given up.
#[derive(Debug)]
pub(super) enum News {
    /// The server tells of this channel from now on.
    Told(u64, String),
    /// And of this one no more, asked or, as its slot is elsewhere, unasked.
    Untold(u64, String),
    /// Something that was asked was refused.
    Refused(u64, RedisError),
    /// It is closed.
    Closed(u64),
}

/// See the module.
pub(super) struct Line {
    pub(super) number: u64,
    heard: Arc<Mutex<Instant>>,
    asks: mpsc::UnboundedSender<(&'static str, Vec<String>)>,
    _asking: AbortOnDropHandle<()>,
    /// Asked, and not told yet.
    pub(super) owed: HashSet<String>,
    /// Of these, what it must tell before the source is heard.
    pub(super) awaited: HashSet<String>,
}

impl Line {
    /// Connects. What is published goes straight to `ear`, in the task that reads
    /// the connection: nothing is queued on the way.
    pub(super) async fn open(
        client: &Client,
        number: u64,
        ear: Arc<Ear>,
        news: mpsc::UnboundedSender<News>,
    ) -> RedisResult<Self> {
        let heard = Arc::new(Mutex::new(Instant::now()));
        let (at, tell) = (heard.clone(), news.clone());
        let push = move |PushInfo { kind, data }| -> Result<(), ()> {
            *at.lock() = Instant::now();
            let mut data = data.into_iter();
            match (kind, data.next(), data.next()) {
                (PushKind::SMessage, Some(channel), Some(Value::BulkString(payload))) => {
                    hear(&ear, &text(channel), &payload.into());
                }
                (PushKind::SSubscribe, Some(channel), _) => {
                    let _ = tell.send(News::Told(number, text(channel)));
                }
                (PushKind::SUnsubscribe, Some(channel), _) => {
                    let _ = tell.send(News::Untold(number, text(channel)));
                }
                (PushKind::Disconnection, ..) => {
                    let _ = tell.send(News::Closed(number));
                }
                _ => {}
            }
            Ok(())
        };
        // A round trip may take long on a busy server: silence is noticed otherwise.
        let config = AsyncConnectionConfig::new().set_push_sender(push).set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        // What piles up, a line that is silent for two seconds takes with it.
        let (asks, asked) = mpsc::unbounded_channel();
        let _asking = AbortOnDropHandle::new(tokio::spawn(carry(connection, asked, number, news)));
        let (owed, awaited) = (HashSet::new(), HashSet::new());
        Ok(Self { number, heard, asks, _asking, owed, awaited })
    }

    /// When something was heard last.
    pub(super) fn heard_at(&self) -> Instant {
        *self.heard.lock()
    }

    /// Asks for these channels: each is confirmed by a [`News::Told`].
    pub(super) fn subscribe(&mut self, channels: Vec<String>) {
        self.owed.extend(channels.iter().cloned());
        let _ = self.asks.send(("SSUBSCRIBE", channels));
    }

    /// This one is told, or given up.
    pub(super) fn settle(&mut self, channel: &str) {
        self.owed.remove(channel);
        self.awaited.remove(channel);
    }

    /// And for these no more.
    pub(super) fn unsubscribe(&mut self, channels: Vec<String>) {
        channels.iter().for_each(|channel| self.settle(channel));
        let _ = self.asks.send(("SUNSUBSCRIBE", channels));
    }
}

/// Asks one after the other, as the server carries it out.
async fn carry(
    mut connection: MultiplexedConnection,
    mut asked: mpsc::UnboundedReceiver<(&'static str, Vec<String>)>,
    number: u64,
    news: mpsc::UnboundedSender<News>,
) {
    while let Some((command, channels)) = asked.recv().await {
        for channels in channels.chunks(BATCH) {
            let mut pipe = redis::pipe();
            pipe.ignore_errors();
            for channel in channels {
                pipe.cmd(command).arg(channel);
            }
            let answers: RedisResult<Vec<Value>> = pipe.query_async(&mut connection).await;
            let refusal = |answers: Vec<Value>| {
                answers.iter().find_map(|answer| answered(answer).err()).map_or(Ok(()), Err)
            };
            // Which one is not said: the server may have taken away another meanwhile, and
            // an answer too many shifts all that follow.
            if let Err(error) = answers.and_then(refusal) {
                let _ = news.send(News::Refused(number, error));
            }
        }
    }
}

fn hear(ear: &Ear, channel: &str, payload: &Bytes) {
    match topic_of(channel) {
        Some(topic) => ear.message(topic, payload),
        None => ear.beat(payload),
    }
}

/// `None`: it is one for heartbeats.
pub(super) fn topic_of(channel: &str) -> Option<&str> {
    // Before it the tag, which says only where it is.
    let (_, name) = channel.split_once("}:")?;
    name.strip_prefix(TOPIC)
}

fn text(channel: Value) -> String {
    redis::from_redis_value(channel).unwrap_or_default()
}
