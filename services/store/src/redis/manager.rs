//! How bb8 makes connections and tells the broken ones.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bb8_redis::bb8::{ManageConnection, Pool};
use parking_lot::Mutex;
use redis::{Client, ErrorKind, RedisError, RedisResult};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    cluster::{Cluster, Member},
    fence::{Fence, Identity},
    link::{Life, Link, Server},
    options::Terms,
    patient::Patient,
    place::{self, Address, Moved, Place},
    said::{Inspected, Unfit},
    script::Locks,
    slot::Slot,
};
use crate::backoff::Backoff;

/// What connecting may take: name, TCP, TLS, AUTH, fence.
const CONNECT: Duration = Duration::from_secs(2);

/// What the server is of.
pub(super) enum Of {
    /// It has all the keys.
    Itself(Arc<Fence>),
    /// It has some, at this address.
    Cluster(Weak<Cluster>, Address),
}

/// Makes connections that have passed the fence.
pub(super) struct Manager {
    place: Arc<Place>,
    /// `host:port`, or what the sentinels call it, for the log.
    server: String,
    terms: Terms,
    slots: Vec<Arc<Slot>>,
    of: Of,
    /// What the log was told last, so that each trouble is told once.
    told: Mutex<Option<String>>,
    /// The run id of the server that the log was told of.
    known: Mutex<String>,
    stop: CancellationToken,
}

impl Manager {
    pub(super) fn new(
        place: Arc<Place>,
        of: Of,
        terms: Terms,
        slots: Vec<Arc<Slot>>,
        stop: CancellationToken,
    ) -> Self {
        let server = place.name();
        let (told, known) = (Mutex::default(), Mutex::default());
        Self { place, server, terms, slots, of, told, known, stop }
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
        let (client, moved) = self.place.find().await?;
        tokio::select! {
            link = self.open(&client, moved.clone()) => link,
            // One that is frozen need not be waited for.
            () = moved.moved() => Err(place::elsewhere()),
        }
    }

    async fn open(&self, client: &Client, moved: Moved) -> RedisResult<Link> {
        let mut connection = Patient::connect(client, CONNECT).await?;
        let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
        let said = Inspected::read(&info, matches!(self.of, Of::Cluster(..)));
        let may_be = |unfit: &Unfit| self.terms.may_forget && *unfit == Unfit::Evicts;
        if let Some(unfit) = said.unfit.filter(|unfit| !may_be(unfit)) {
            return Err(unfit.into());
        }
        let sent = Instant::now();
        let time: (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await?;
        let probed = Locks::probe().query_async::<i64>(&mut connection).await;
        let locks = if probed.is_ok() { Locks::Keys } else { Locks::All };
        self.tell(client, &said, locks);
        let server = Server { moved, life: self.life(said, &mut connection).await? };
        let link = Link::new(connection, (sent, time), locks, server);
        link.compare(CONNECT).await?;
        Ok(link)
    }

    async fn life(&self, said: Inspected, connection: &mut Patient) -> RedisResult<Life> {
        let (cluster, address) = match &self.of {
            Of::Itself(fence) => return Ok(Life::Alone(fence.clone(), said.run_id)),
            Of::Cluster(cluster, address) => (cluster.clone(), address.clone()),
        };
        let id: String = redis::cmd("CLUSTER").arg("MYID").query_async(connection).await?;
        let (field, joins) = (format!("run:{id}"), !said.was_promoted);
        let identity = Identity { field, is: said.run_id, joins };
        Ok(Life::Member(Member::new(cluster, address, identity)))
    }

    /// One line for each server, not for each connection to it.
    fn tell(&self, client: &Client, said: &Inspected, locks: Locks) {
        let mut known = self.known.lock();
        if *known != said.run_id {
            let server = client.get_connection_info().addr().to_string();
            let Inspected { product, version, eviction, keeps, .. } = said;
            info!(server, product, version, ?eviction, ?keeps, ?locks, "redis is this server");
            known.clone_from(&said.run_id);
        }
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
        link.beat(self.terms.timeout).await
    }

    fn has_broken(&self, link: &mut Arc<Link>) -> bool {
        link.broken.is_cancelled()
    }
}
