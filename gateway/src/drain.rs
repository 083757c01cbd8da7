//! How a gateway goes away: sockets are told to come back elsewhere, and
//! closed over a part of the grace period, so that they do not all return in
//! the same moment.

use std::{sync::Arc, time::Duration};

use mingle_client::close::Close;
use rand::Rng as _;

use crate::{gateway::Gateway, outbox::Closing, ws::degraded};

/// Sockets are closed over at most this long.
const SPREAD: Duration = Duration::from_secs(4);
const TICK: Duration = Duration::from_millis(50);
/// Few enough to come back at once.
const AT_ONCE: usize = 50;
/// The range of what a client is told to wait.
const RETRY_MS: std::ops::Range<u32> = 500..3000;

/// Waits for the role's stop, then closes every socket.
pub(crate) async fn drain(gateway: Arc<Gateway>) {
    gateway.ctx.stop.cancelled().await;
    let sockets = gateway.sockets.snapshot();
    let ticks = (SPREAD.as_millis() / TICK.as_millis()) as usize;
    let per_tick = sockets.len().div_ceil(ticks).max(AT_ONCE);
    tracing::info!(sockets = sockets.len(), per_tick, "closing sockets");
    for batch in sockets.chunks(per_tick) {
        for socket in batch {
            let retry_after_ms = rand::rng().random_range(RETRY_MS);
            socket.close(Closing { close: Close::Draining, retry_after_ms });
        }
        tokio::time::sleep(TICK).await;
    }
    // Those whose upgrade was on its way.
    loop {
        let late = gateway.sockets.snapshot();
        if late.is_empty() {
            return;
        }
        for socket in late {
            socket.close(Closing { close: Close::Draining, retry_after_ms: RETRY_MS.start });
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Tells every socket when the process becomes degraded and when it recovers.
pub(crate) async fn tell_degraded(gateway: Arc<Gateway>) {
    let mut states = gateway.ctx.health.degraded();
    // What holds at the start is told to each socket in its greeting.
    states.mark_unchanged();
    loop {
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            () = gateway.ctx.stop.cancelled() => return,
        }
        let now = states.borrow_and_update().iter().cloned().collect();
        gateway.sockets.broadcast(&degraded(now));
    }
}
