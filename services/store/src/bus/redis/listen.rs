//! The connection that listens, and the next one when it is lost.

use std::{convert::Infallible, future::pending, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use redis::{
    Msg, RedisResult,
    aio::{PubSub, PubSubSink},
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    BEAT, TAG, TOPIC, closed, lost, silent,
    wanted::{Difference, Wanted},
};
use crate::{Result, backoff::Backoff, bus::ear::Ear, redis::Redis};

/// Topics in one SUBSCRIBE.
const BATCH: usize = 1_000;

/// What a round trip asked for and got.
type Asked = BoxFuture<'static, RedisResult<Vec<String>>>;

/// The listening side.
pub(super) struct Listener {
    redis: Redis,
    ear: Arc<Ear>,
    wanted: Arc<Wanted>,
    beat: String,
    prefix: String,
}

impl Listener {
    pub(super) fn new(redis: Redis, ear: Arc<Ear>, wanted: Arc<Wanted>) -> Self {
        let (beat, prefix) = (redis.key(TAG, BEAT), redis.key(TAG, TOPIC));
        Self { redis, ear, wanted, beat, prefix }
    }

    /// Listens until `stop`, on one connection after the other. Where nothing
    /// can be said there is nothing to hear: a server that lets listen and takes
    /// no commands would be heard and lost again and again.
    pub(super) async fn run(self, stop: CancellationToken) {
        let listening = async {
            let mut backoff = Backoff::new();
            loop {
                self.redis.connected().await;
                let begin = Instant::now();
                let Err(error) = self.listen().await;
                self.wanted.end();
                self.ear.shut(&error);
                sleep(backoff.after(begin.elapsed())).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = listening => {}
        }
    }

    /// Listens on one connection, until it is lost.
    async fn listen(&self) -> Result<Infallible> {
        self.ear.begin();
        let connecting = timeout_at(self.ear.silent_at(), self.redis.subscriber());
        let (pubsub, ends) = connecting.await.map_err(|_| silent())?.map_err(lost)?;
        self.ear.begin();
        tokio::select! {
            ended = self.attend(pubsub) => ended,
            why = ends => Err(lost(why)),
        }
    }

    async fn attend(&self, pubsub: PubSub) -> Result<Infallible> {
        let (sink, mut messages) = pubsub.split();
        let all = Difference { added: self.wanted.begin(), removed: Vec::new() };
        let mut asked = Some(self.ask(&sink, all, true));
        let mut is_open = false;
        loop {
            let is_idle = asked.is_none();
            let answer = async {
                match &mut asked {
                    Some(asked) => asked.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // The rare before the frequent, and silence when all is read.
                biased;
                answer = answer => {
                    self.wanted.confirm(&answer.map_err(lost)?);
                    asked = None;
                    if !is_open {
                        is_open = true;
                        self.ear.open();
                    }
                }
                () = self.wanted.changes.next(), if is_idle => {
                    asked = Some(self.ask(&sink, self.wanted.difference(), false));
                }
                message = messages.next() => match message {
                    Some(message) => self.take(&message),
                    None => return Err(lost(closed())),
                },
                () = sleep_until(self.ear.silent_at()) => return Err(silent()),
            }
        }
    }

    /// Asks for a difference, one round trip after the other: the server
    /// carries them out in this order.
    fn ask(&self, sink: &PubSubSink, difference: Difference, beat: bool) -> Asked {
        let channel = |topic: &String| format!("{}{topic}", self.prefix);
        let removed: Vec<String> = difference.removed.iter().map(channel).collect();
        let mut added: Vec<String> = difference.added.iter().map(channel).collect();
        if beat {
            added.insert(0, self.beat.clone());
        }
        let mut sink = sink.clone();
        async move {
            for channels in removed.chunks(BATCH) {
                sink.unsubscribe(channels).await?;
            }
            for channels in added.chunks(BATCH) {
                sink.subscribe(channels).await?;
            }
            Ok(difference.added)
        }
        .boxed()
    }

    fn take(&self, message: &Msg) {
        let channel = message.get_channel_name();
        if channel == self.beat {
            self.ear.beat(message.get_payload_bytes());
        } else if let Some(topic) = channel.strip_prefix(&self.prefix) {
            self.ear.message(topic, &Bytes::copy_from_slice(message.get_payload_bytes()));
        }
    }
}
