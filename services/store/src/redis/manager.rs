//! How bb8 makes connections and tells the broken ones.

use std::{sync::Arc, time::Duration};

use bb8_redis::{
    RedisConnectionManager,
    bb8::{ManageConnection, Pool},
};
use parking_lot::Mutex;
use redis::{Client, ErrorKind, RedisError, RedisResult};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    fence::{Fence, Generation, run_id},
    link::Link,
    slot::Slot,
};
use crate::backoff::Backoff;

/// What connecting may take: name, TCP, TLS, AUTH, fence.
const CONNECT: Duration = Duration::from_secs(2);

/// Makes connections that have passed the fence.
pub(super) struct Manager {
    connections: RedisConnectionManager,
    /// `host:port`, for the log.
    server: String,
    timeout: Duration,
    slots: Vec<Arc<Slot>>,
    fence: Arc<Fence>,
    /// What the log was told last, so that each trouble is told once.
    told: Mutex<Option<String>>,
    stop: CancellationToken,
}

impl Manager {
    pub(super) fn new(
        client: &Client,
        prefix: &str,
        timeout: Duration,
        slots: Vec<Arc<Slot>>,
        stop: CancellationToken,
    ) -> RedisResult<Self> {
        let info = client.get_connection_info().clone();
        let server = info.addr().to_string();
        Ok(Self {
            fence: Arc::new(Fence::new(prefix, server.clone())),
            server,
            connections: RedisConnectionManager::new(info)?,
            timeout,
            slots,
            told: Mutex::new(None),
            stop,
        })
    }

    pub(super) fn fence(&self) -> watch::Receiver<Option<Generation>> {
        self.fence.watch()
    }

    /// A pool that holds one connection for each slot, and no more.
    pub(super) fn pool(self) -> Pool<Self> {
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        Pool::builder()
            .max_size(slots)
            .min_idle(slots)
            // A leased connection lives as long as it works, see the slot's
            // beat; an idle one is about to be leased.
            .test_on_check_out(false)
            .max_lifetime(None)
            .idle_timeout(None)
            // The manager itself tries until it has one.
            .retry_connection(false)
            .build_unchecked(self)
    }

    async fn attempt(&self) -> RedisResult<Link> {
        let mut connection = self.connections.connect().await?;
        connection.set_response_timeout(CONNECT);
        let sent = Instant::now();
        let mut hello = redis::pipe();
        hello.cmd("TIME").cmd("INFO").arg("server");
        let (time, info): ((i64, i64), String) = hello.query_async(&mut connection).await?;
        let link = Link::new(connection, (sent, time), self.fence.clone(), run_id(&info));
        link.compare(CONNECT).await?;
        Ok(link)
    }

    fn failed(&self, error: &RedisError) {
        for slot in &self.slots {
            slot.give_up();
        }
        let text = error.to_string();
        let mut told = self.told.lock();
        if told.as_deref() != Some(&text) {
            warn!(server = self.server, error = text, "redis cannot be reached, trying on");
            *told = Some(text);
        }
    }
}

impl ManageConnection for Manager {
    type Connection = Arc<Link>;
    type Error = RedisError;

    /// Tries until there is one, so that callers of the pool see no failures
    /// and the waits between attempts are ours.
    async fn connect(&self) -> RedisResult<Arc<Link>> {
        let mut backoff = Backoff::new();
        loop {
            let error = match timeout(CONNECT, self.attempt()).await {
                Ok(Ok(link)) => {
                    *self.told.lock() = None;
                    return Ok(Arc::new(link));
                }
                Ok(Err(error)) => error,
                Err(_) => RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)),
            };
            self.failed(&error);
            tokio::select! {
                () = self.stop.cancelled() => {
                    return Err((ErrorKind::Client, "stopped").into());
                }
                () = sleep(backoff.next()) => {}
            }
        }
    }

    async fn is_valid(&self, link: &mut Arc<Link>) -> RedisResult<()> {
        link.beat(self.timeout).await
    }

    fn has_broken(&self, link: &mut Arc<Link>) -> bool {
        link.broken.is_cancelled()
    }
}
