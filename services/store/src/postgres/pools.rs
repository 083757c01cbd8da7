//! A pool, and the next one in its place when none of its connections comes
//! back.
//!
//! The driver asks a connection that is given back whether it lives, without a
//! bound, and so it waits for the BEGIN of a caller that is gone. A host that
//! vanished without a word (power, partition, a fail-over behind one name)
//! answers neither, for as long as TCP believes in it: a quarter of an hour, or
//! for good. Each such connection is a place of the pool that nobody has.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::options::{Options, Ways};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// When a connection was last known to live.
#[derive(Clone, Debug)]
pub(super) struct Alive(Arc<Mutex<Instant>>);

impl Alive {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// One has answered just now.
    pub(super) fn note(&self) {
        *self.0.lock() = Instant::now();
    }

    pub(super) fn since(&self) -> Duration {
        self.0.lock().elapsed()
    }
}

/// The pools so far; the last one is in use. There are as many as times that a
/// whole pool was stranded.
pub(super) struct Pools {
    pool: PgPool,
    alive: Alive,
    next: OnceLock<Box<Self>>,
}

impl Pools {
    /// The first one, watched for as long as anybody holds it.
    pub(super) fn start(options: &Arc<Options>, ways: &Arc<Ways>) -> Arc<Self> {
        let pools = Arc::new(Self::new(options, ways));
        tokio::spawn(watch(Arc::downgrade(&pools), options.clone(), ways.clone()));
        pools
    }

    fn new(options: &Options, ways: &Ways) -> Self {
        let alive = Alive::new();
        let pool = super::pool::pool(options, &alive).connect_lazy_with(ways.pooled.clone());
        Self { pool, alive, next: OnceLock::new() }
    }

    /// The one in use.
    pub(super) fn pool(&self) -> &PgPool {
        &self.last().pool
    }

    fn last(&self) -> &Self {
        let mut last = self;
        while let Some(next) = last.next.get() {
            last = next;
        }
        last
    }

    /// True when every place is taken and no connection has answered for longer
    /// than any of our bounds.
    fn is_stranded(&self, options: &Options) -> bool {
        let is_full = self.pool.size() >= options.max_connections && self.pool.num_idle() == 0;
        is_full && self.alive.since() > options.acquire + options.answer
    }
}

async fn watch(pools: Weak<Pools>, options: Arc<Options>, ways: Arc<Ways>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(pools) = pools.upgrade() else { return };
        let last = pools.last();
        if last.pool.is_closed() {
            return;
        }
        if last.is_stranded(&options) {
            tracing::warn!("no database connection comes back: others are made in their place");
            let stranded = last.pool.clone();
            let _ = last.next.set(Box::new(Pools::new(&options, &ways)));
            // It ends with its connections, should they ever answer.
            tokio::spawn(async move { stranded.close().await });
        }
    }
}
