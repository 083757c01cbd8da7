//! What time does to rooms: idle pairs close, old events go.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use mingle_store::{Result, clock::Clock};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{Intent, Wish},
    store::Store,
};

/// Pairs closed at once: a batch.
const PAIRS: usize = 200;
/// Events taken in one transaction.
const EVENTS: usize = 1000;

/// When time has its way.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Between two looks.
    pub every: Duration,
    /// Silence that closes a pair, in milliseconds.
    pub pair_idle_ms: i64,
    /// How long events are kept, in milliseconds.
    pub retention_ms: i64,
}

/// Looks every so often until `stop`. Several processes may do so at once:
/// each room closes once, each event goes once.
pub async fn sweep(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    sweep: Sweep,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(sweep.every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = clock.now_ms();
        let look = async {
            // A room that cannot be closed keeps nothing else from its end.
            let closed = close_idle(&*store, now - sweep.pair_idle_ms).await;
            while store.expire(now - sweep.retention_ms, EVENTS).await? > 0 {
                tokio::task::yield_now().await;
            }
            closed
        };
        let looked: Result<()> = tokio::select! {
            () = stop.cancelled() => return,
            looked = look => looked,
        };
        if let Err(error) = looked {
            tracing::warn!(%error, "idle rooms and old events wait for the next look");
        }
    }
}

async fn close_idle(store: &dyn Store, idle_since: i64) -> Result<()> {
    loop {
        let rooms = store.idle(idle_since, PAIRS).await?;
        let full = rooms.len() == PAIRS;
        let closes = rooms.into_iter().map(|room_id| {
            let intent = Intent::CloseIdle { idle_since };
            store.write(Wish { room_id, intent, trace_id: String::new() }, String::new())
        });
        for closed in join_all(closes).await {
            // A room that is busy again, or closed, is no failure.
            let _ = closed?;
        }
        if !full {
            return Ok(());
        }
    }
}
