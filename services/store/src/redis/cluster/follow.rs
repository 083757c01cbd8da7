//! Asks the servers, time and again, which of them has which slot.

use std::{collections::BTreeSet, io, sync::Weak, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use redis::{RedisError, RedisResult};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::{ANSWER, Cluster, map::Map, view::View};
use crate::{
    backoff::Backoff,
    redis::{fault, patient::Patient, place::Address},
};

/// Between two looks, while all is well and while a server is away.
const EACH: Duration = Duration::from_secs(1);
const ANXIOUS: Duration = Duration::from_millis(250);
/// Between two looks, however often somebody is sent elsewhere.
const AT_LEAST: Duration = Duration::from_millis(100);
/// In which an answer that came at the last moment is read.
const SPARE: Duration = Duration::from_millis(50);
/// An epoch of which nobody tells for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// A server without slots is kept so long: it may be about to get some.
const GUEST: Duration = Duration::from_secs(60);

impl Cluster {
    /// Asks all for who has which slot, and the seeds and replicas when none of them
    /// answers. False when nobody did.
    async fn look(&self) -> bool {
        let asked = self.nodes_of_map().into_iter().filter_map(|(address, node)| {
            let link = node.commands().held()?;
            Some(async move { View::ask(&mut link.patient(ANSWER), &address.0).await })
        });
        if self.hear(asked.collect()).await {
            return true;
        }
        let replicas = self.map.borrow().replicas.clone();
        let others = self.start.seeds.iter().cloned().chain(replicas).map(|address| async move {
            let client = self.client(&address)?;
            let mut connection = Patient::connect(&client, ANSWER).await?;
            View::ask(&mut connection, &address.0).await
        });
        self.hear(others.collect()).await
    }

    /// Follows each view as it comes. True when any did.
    async fn hear(
        &self,
        mut views: FuturesUnordered<impl Future<Output = RedisResult<View>>>,
    ) -> bool {
        let mut heard = false;
        let until = Instant::now() + ANSWER + SPARE;
        while let Ok(Some(view)) = timeout_at(until, views.next()).await {
            match view {
                Ok(view) if self.told(&view) => heard = true,
                Ok(_) => *self.trouble.lock() = Some(down()),
                Err(error) => *self.trouble.lock() = Some(error),
            }
        }
        heard
    }

    /// False when it is not to be followed.
    fn told(&self, view: &View) -> bool {
        let now = Instant::now();
        let mut held = self.held.lock();
        let follows = match &*held {
            // Who asks one that serves nothing is told so.
            None => !view.ranges.is_empty(),
            Some((epoch, told)) => {
                let is_later = view.epoch >= *epoch || now.duration_since(*told) >= FORGOTTEN;
                view.is_ok && is_later
            }
        };
        if follows {
            *held = view.is_ok.then_some((view.epoch, now));
            drop(held);
            self.follow(view, now);
        }
        follows
    }

    fn follow(&self, view: &View, now: Instant) {
        let mut nodes = self.nodes.lock();
        let before = self.map.borrow().clone();
        let map = Map::new(view, &before, |address| self.node_at(&mut nodes, address));
        let addresses = |map: &Map| -> BTreeSet<Address> {
            map.nodes().iter().map(|(address, _)| address.clone()).collect()
        };
        let (had, has) = (addresses(&before), addresses(&map));
        if !map.is_as(&before) {
            self.map.send_replace(map);
        }
        // Whoever has no slots any more is compared anew when it has some again.
        nodes.retain(|address, (_, used)| {
            has.contains(address) || !had.contains(address) && now.duration_since(*used) < GUEST
        });
        drop(nodes);
        if has != had {
            info!(primaries = ?has, epoch = view.epoch, "the redis cluster has these primaries");
        }
    }
}

/// Until it is dropped.
pub(super) async fn follow(cluster: Weak<Cluster>) {
    let mut backoff = Backoff::new();
    let mut told = None;
    loop {
        let Some(cluster) = cluster.upgrade() else { return };
        let begin = Instant::now();
        let heard = cluster.look().await;
        if heard {
            (backoff, told) = (Backoff::new(), None);
        } else {
            let trouble = cluster.trouble.lock().take().unwrap_or_else(fault::silent).to_string();
            if told.as_ref() != Some(&trouble) {
                warn!(error = trouble, "nobody tells of the redis cluster, trying on");
                told = Some(trouble);
            }
        }
        let pause = match (heard, cluster.is_live()) {
            (true, true) => EACH,
            (true, false) => ANXIOUS,
            (false, _) => backoff.next(),
        };
        // Sent elsewhere in the meantime.
        let _ = timeout(pause, cluster.wake.notified()).await;
        drop(cluster);
        sleep(AT_LEAST.saturating_sub(begin.elapsed())).await;
    }
}

/// Who answers is cut off from most of the others.
fn down() -> RedisError {
    io::Error::other("the cluster says that it is down, or names nobody").into()
}
