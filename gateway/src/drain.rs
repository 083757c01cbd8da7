//! How a gateway goes away: sockets are told to come back elsewhere, and
//! closed over a part of the grace period, so that they do not all return in
//! the same moment.

use std::{sync::Arc, time::Duration};

use mingle_client::close::Close;
use rand::Rng as _;
use tokio::time::Instant;

use crate::{gateway::Gateway, outbox::Closing, ws::degraded};

/// Sockets are closed over at most this long, and this part of the grace
/// period: the last ones have as long again to take their close.
const SPREAD: Duration = Duration::from_secs(4);
const PART: f64 = 0.4;
const TICK: Duration = Duration::from_millis(50);
/// Few enough to come back at once.
const AT_ONCE: usize = 50;
/// The range of what a client is told to wait.
const RETRY_MS: std::ops::Range<u32> = 500..3000;

/// How a socket is closed whose process goes away.
pub(crate) fn goodbye() -> Closing {
    let retry_after_ms = rand::rng().random_range(RETRY_MS);
    Closing { close: Close::Draining, retry_after_ms }
}

/// The time over which sockets are closed, of a grace period.
pub(crate) fn spread(grace: Duration) -> Duration {
    SPREAD.min(grace.mul_f64(PART))
}

/// Waits for the role's stop, then closes every socket.
pub(crate) async fn drain(gateway: Arc<Gateway>) {
    gateway.ctx.stop.cancelled().await;
    let sockets = gateway.sockets.snapshot();
    let ticks = (gateway.spread.as_millis() / TICK.as_millis()).max(1) as usize;
    let per_tick = sockets.len().div_ceil(ticks).max(AT_ONCE);
    tracing::info!(sockets = sockets.len(), per_tick, "closing sockets");
    // By the clock: a busy machine does not stretch the time.
    let begin = Instant::now();
    for (batch, tick) in sockets.chunks(per_tick).zip(0_u32..) {
        tokio::time::sleep_until(begin + TICK * tick).await;
        for socket in batch {
            socket.close(goodbye());
        }
    }
    // Those whose upgrade was on its way.
    loop {
        let late = gateway.sockets.snapshot();
        if late.is_empty() {
            return;
        }
        for socket in late {
            socket.close(goodbye());
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
        let now = gateway.ctx.diagnostics.by_role(&states.borrow_and_update());
        gateway.sockets.broadcast(&degraded(&now));
    }
}
