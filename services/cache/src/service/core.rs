//! The cache of one process: its memory before what is shared.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mingle_proto::cache::v1::{self, WatchResponse};
use mingle_runtime::telemetry::traceparent;
use mingle_store::{
    bus::{Announcement, Bus, Delivery},
    clock::Clock,
    redis::Generation,
};
use tokio::{
    sync::{Notify, broadcast, watch},
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    counts::Counts,
    fetch::Fetched,
    flights::Flights,
    known::Known,
    local::Local,
    news::{self, News, Told},
    pulse::{BEAT, Pulse},
};
use crate::{
    domain::{Key, Mark, Namespace, Namespaces, WHOLE},
    store::{Changes, Keeper},
};

/// Changes that wait for one watcher before it is told of a gap.
const WATCHED: usize = 1024;
/// Between two sweeps of the memory.
const SWEEP: Duration = Duration::from_secs(30);
/// At least, however often something is cleared.
const PAUSE: Duration = Duration::from_secs(1);
/// What may be taken to say something.
const SAID: Duration = Duration::from_secs(1);

/// What a watcher is told.
#[derive(Clone)]
pub(super) enum Heard {
    Changed(Arc<WatchResponse>),
    Gap,
}

pub(crate) struct Core {
    /// Of this process: random.
    id: u128,
    pub(super) keeper: Keeper,
    pub(super) namespaces: Namespaces,
    pub(super) local: Local,
    pub(super) known: Known,
    pub(super) counts: Counts,
    pub(super) flights: Flights<Fetched>,
    pub(super) heard: broadcast::Sender<Heard>,
    pulse: Pulse,
    /// Much is to be freed.
    forgotten: Notify,
    /// Something may have been missed since something was heard.
    doubts: AtomicBool,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
}

impl Core {
    pub(crate) fn new(
        keeper: Keeper,
        namespaces: Namespaces,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (local, counts) = (Local::new(&namespaces), Counts::new(&namespaces));
        let heard = broadcast::Sender::new(WATCHED);
        Arc::new(Self {
            id: rand::random(),
            keeper,
            namespaces,
            local,
            known: Known::new(),
            counts,
            flights: Flights::new(),
            heard,
            pulse: Pulse::new(),
            forgotten: Notify::new(),
            doubts: AtomicBool::new(true),
            bus,
            clock,
        })
    }

    /// True while this process hears what changes: what is in its memory is good.
    pub(super) fn hears(&self, now: Instant) -> bool {
        self.pulse.is_good(now) && !self.doubts.load(Ordering::Acquire)
    }

    /// What was asked of a namespace and found, since the start.
    pub(super) fn stats(&self, namespace: &str) -> Option<v1::NamespaceStats> {
        let of = self.counts.of(namespace)?;
        let (local_entries, local_bytes) = self.local.size(namespace);
        let (stored_bytes, kept_bytes) = (of.stored_bytes.get(), self.keeper.kept_bytes(namespace));
        Some(v1::NamespaceStats {
            namespace: namespace.to_owned(),
            hits: of.hits.get(),
            stale_hits: of.stale_hits.get(),
            misses: of.misses.get(),
            loads: of.loads.get(),
            rejected_fills: of.rejected_fills.get(),
            local_entries,
            local_bytes,
            degraded: self.keeper.is_away(),
            local_hits: of.local_hits.get(),
            waits: of.waits.get(),
            failed_loads: of.failed_loads.get(),
            stored_bytes,
            kept_bytes: kept_bytes.unwrap_or(stored_bytes),
            read_us: of.read_us.get(),
        })
    }

    /// Deletes and voids; true when that is done and told, false when it is pending.
    pub(super) async fn void(&self, changes: Changes) -> bool {
        let is_done = self.keeper.void(&changes).await;
        self.changed(changes, is_done).await
    }

    /// Forgets here what changed and, where that is done, tells the others: what is
    /// pending is told when it is. False when they may not know.
    pub(super) async fn changed(&self, changes: Changes, is_done: bool) -> bool {
        if !is_done {
            self.apply(&changes);
            return false;
        }
        let is_told = self.tell(&changes).await;
        if !is_told {
            self.keeper.tell_late(&changes);
        }
        is_told
    }

    async fn tell(&self, changes: &Changes) -> bool {
        self.apply(changes);
        self.say(&news::changed(changes, &self.told())).await
    }

    /// Wakes who waits for a key, here and elsewhere.
    pub(super) async fn wake(&self, key: &Key) {
        self.flights.part(key);
        self.local.drop_one(key);
        if !self.keeper.is_away() {
            // Who is not told asks again by itself.
            self.say(&news::filled(key, &self.told())).await;
        }
    }

    async fn say(&self, news: &[Announcement]) -> bool {
        matches!(timeout(SAID, self.bus.publish(news)).await, Ok(Ok(())))
    }

    fn told(&self) -> Told {
        Told { id: self.id, traceparent: traceparent(), now_ms: self.clock.now_ms() }
    }

    fn apply(&self, changes: &Changes) {
        for mark in &changes.marks {
            self.known.forget(mark);
            if &*mark.tag == WHOLE {
                // It may stand for more keys than could be told.
                self.local.drop_all_of(&mark.namespace.name);
                self.forgotten.notify_one();
            }
        }
        for key in &changes.keys {
            self.flights.part(key);
            self.local.drop_one(key);
        }
    }

    /// Anything may have changed. What is in memory is of use while Redis is away and no
    /// longer: it goes as soon as something is heard.
    fn doubt(&self) {
        self.doubts.store(true, Ordering::Release);
        self.known.doubt();
        self.local.doubt();
        let _ = self.heard.send(Heard::Gap);
    }

    /// What this process deleted while it was still with a server that is no longer the
    /// one, others may have loaded before that from the one that is: all of it is voided.
    fn live_on(&self, life: &mut Option<Generation>, is: Option<Generation>) {
        let (Some(is), was) = (is, life.clone()) else { return };
        if was.is_some_and(|was| was != is) {
            let mark = |of: &Arc<Namespace>| Mark { namespace: of.clone(), tag: WHOLE.into() };
            let marks = self.namespaces.values().map(mark).collect();
            self.keeper.owe(&Changes { keys: Vec::new(), marks });
        }
        *life = Some(is);
    }

    fn hear(&self, delivery: Delivery) {
        let news = match delivery {
            Delivery::Message(payload) => news::read(payload),
            Delivery::Gap => None,
        };
        match news {
            Some(News::Number(id, number)) if id == self.id => {
                if self.doubts.swap(false, Ordering::AcqRel) {
                    self.known.forget_all();
                    self.local.drop_all();
                    self.forgotten.notify_one();
                }
                self.pulse.heard(number);
            }
            Some(News::Number(..)) => {}
            Some(News::Changed(id, response)) => {
                // What was read since this process changed it itself is as good.
                if id != self.id {
                    self.apply(&news::meant(&response, &self.namespaces));
                }
                // Nobody may watch.
                let _ = self.heard.send(Heard::Changed(Arc::new(response)));
            }
            Some(News::Filled(id, _)) if id == self.id => {}
            Some(News::Filled(_, response)) => {
                let filled = news::meant(&response, &self.namespaces);
                for key in &filled.keys {
                    // Who waited shall not share what was asked before it was there.
                    self.flights.part(key);
                    self.local.drop_one(key);
                }
            }
            None => self.doubt(),
        }
    }

    /// Follows what changes elsewhere until `stop`.
    pub(crate) async fn follow(
        self: Arc<Self>,
        mut data: Option<watch::Receiver<Option<Generation>>>,
        stop: CancellationToken,
    ) {
        let following = async {
            let Ok(mut changes) = self.bus.subscribe(news::TOPIC).await else { return };
            self.doubt();
            let mut life = data.as_ref().and_then(|data| data.borrow().clone());
            let mut late = interval(BEAT);
            late.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    delivery = changes.recv() => match delivery {
                        Some(delivery) => self.hear(delivery),
                        None => return,
                    },
                    is = changed(&mut data) => {
                        self.doubt();
                        self.live_on(&mut life, is);
                    }
                    _ = late.tick() => {
                        let (late, number) = self.keeper.late();
                        if !late.is_empty() && self.tell(&late).await {
                            self.keeper.told(number);
                        }
                    }
                }
            }
        };
        stop.run_until_cancelled(following).await;
    }

    /// Frees what nobody may ask for any more until `stop`, where nobody waits for it.
    pub(crate) async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        let sweeping = async {
            loop {
                let (core, now) = (self.clone(), Instant::now());
                let swept = spawn_blocking(move || {
                    core.local.sweep(now);
                    core.known.sweep();
                });
                // One that fails frees less.
                let _ = swept.await;
                sleep(PAUSE).await;
                let _ = timeout(SWEEP, self.forgotten.notified()).await;
            }
        };
        stop.run_until_cancelled(sweeping).await;
    }

    /// Says numbers until `stop`.
    pub(crate) async fn beat(self: Arc<Self>, stop: CancellationToken) {
        let saying = async {
            let mut ticks = interval(BEAT);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                // What is not said does not come back.
                self.say(&[news::number(self.id, self.pulse.next())]).await;
            }
        };
        stop.run_until_cancelled(saying).await;
    }
}

/// Waits for another life of the server's data; never where there is no server.
async fn changed(data: &mut Option<watch::Receiver<Option<Generation>>>) -> Option<Generation> {
    if let Some(data) = data
        && data.changed().await.is_ok()
    {
        return data.borrow_and_update().clone();
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt as _;
    use mingle_store::{bus, clock::ManualClock};

    use super::*;
    use crate::store::memory::Memory;

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_a_load_elsewhere_is_not_shared_after_it() {
        let namespace = Arc::new(Namespace::of_tests(0));
        let namespaces = [(namespace.name.to_string(), namespace.clone())].into();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        let keeper = Keeper::alone(Memory::new(clock.clone(), 1 << 20));
        let core = Core::new(keeper, namespaces, Arc::new(bus::Memory::new()), clock);
        let key = Key { namespace, name: "ann".into() };
        assert!(core.flights.join(&key, pending).now_or_never().is_none(), "it is under way");
        let elsewhere = Told { id: core.id ^ 1, traceparent: String::new(), now_ms: 0 };
        for told in news::filled(&key, &elsewhere) {
            core.hear(Delivery::Message(told.payload));
        }
        let asked = core.flights.join(&key, || ready(Fetched::default()));
        assert!(matches!(timeout(SAID, asked).await, Ok(Some(_))), "it is asked anew");
    }
}
