//! The heartbeats of a bus, and the watch over those of others.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    merged::{Core, told_others},
    source::Source,
};

/// One task per source, so that a frozen one does not silence the other.
pub(super) fn start(core: &Arc<Core>, stop: &CancellationToken) -> TaskTracker {
    let tasks = TaskTracker::new();
    for source in core.ways.all() {
        tasks.spawn(beat(core.clone(), source.clone(), stop.clone()));
    }
    tasks.spawn(watch(core.clone(), stop.clone()));
    tasks
}

/// Beats until `stop`, and at once when what it says has changed.
async fn beat(core: Arc<Core>, source: Arc<dyn Source>, stop: CancellationToken) {
    let ear = source.ear();
    let mut own = ear.changes();
    let mut redis = core.ways.redis().unwrap_or(&source).ear().changes();
    let mut ticks = every(core.options.beat);
    let mut number = 1;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
            _ = own.changed() => {}
            _ = redis.changed() => {}
            () = ear.beat_wanted() => {}
        }
        let said = ear.own_beat(number, core.ways.hears_redis(), false);
        number += u64::from(say(&core, &source, said).await);
    }
    say(&core, &source, ear.own_beat(number, false, true)).await;
}

/// True when the source took it. What it does not take is missed there.
async fn say(core: &Core, source: &Arc<dyn Source>, beat: Bytes) -> bool {
    matches!(timeout(core.options.lost_after, source.beat(beat)).await, Ok(Ok(())))
}

/// Looks for processes that have fallen silent, and tells subscribers of what
/// was published on Redis before everyone knew that it is not heard here.
async fn watch(core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = every(core.options.beat / 4);
    let mut done: Option<Instant> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        core.ways.all().for_each(|source| source.ear().sweep());
        let told = told_others(&core.ways);
        if told != done && told.is_none_or(|told| told.elapsed() >= core.options.beat) {
            done = told;
            if told.is_some() {
                tracing::info!(
                    bus.source = "redis",
                    why = "redis is not heard here, and some announced by it before they knew",
                    "announcements may be missing here: what is followed is read again from where \
                     it was"
                );
                core.topics.gap_everywhere();
            }
        }
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
