//! Watches the servers that this process depends on, for health, metrics and
//! whoever is told that something is degraded.

use std::{sync::Arc, time::Duration};

use mingle_runtime::health::Health;
use mingle_store::{bus::Merged, postgres::Gate, redis::Redis};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// The degraded state while Redis does not answer.
pub(crate) const REDIS: &str = "redis";
/// The degraded state while PostgreSQL answers and its notifications do not
/// arrive: a pooler is in between, and no way past it. What Redis does not tell
/// then is found by comparing heads.
pub(crate) const NOTIFICATIONS: &str = "notifications";
/// The degraded state while PostgreSQL does not answer.
pub(crate) const DATABASE: &str = "database";

const EVERY: Duration = Duration::from_millis(500);
/// Looks in a row: a connection that is made anew at once is not worth a word.
const PATIENCE: u32 = 3;

/// Whether a server answers, as of the last looks.
#[derive(Default)]
struct Seen {
    missed: u32,
}

impl Seen {
    /// Takes a look; true while it counts as away.
    fn look(&mut self, answers: bool) -> bool {
        self.missed = if answers { 0 } else { self.missed.saturating_add(1) };
        self.missed >= PATIENCE
    }
}

/// Looks until `stop`. PostgreSQL is judged by its gate; the listening
/// connection, which the server must keep alive by heartbeats, casts doubt on it.
pub(crate) async fn watch(
    health: Health,
    redis: Redis,
    (bus, gate): (Option<Arc<Merged>>, Option<Gate>),
    stop: CancellationToken,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut commands, mut rows, mut news) = (Seen::default(), Seen::default(), Seen::default());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let sources = bus.as_ref().map(|bus| bus.sources());
        let hears_redis = sources.is_none_or(|sources| sources.redis != Some(false));
        health.set_degraded(REDIS, commands.look(redis.is_connected() && hears_redis));
        let hears_rows = sources.is_none_or(|sources| sources.postgres != Some(false));
        if let Some(gate) = gate.as_ref().filter(|_| !hears_rows) {
            gate.suspect();
        }
        let answers = !gate.as_ref().is_some_and(Gate::is_away);
        health.set_degraded(DATABASE, rows.look(answers));
        health.set_degraded(NOTIFICATIONS, news.look(hears_rows) && answers);
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn a_server_is_away_when_it_stays_away_and_back_at_once() {
        let mut seen = Seen::default();
        for (answers, away) in
            [(true, false), (false, false), (false, false), (true, false), (false, false)]
        {
            assert_eq!(seen.look(answers), away);
        }
        assert!(!seen.look(false));
        assert!(seen.look(false), "the third in a row");
        assert!(seen.look(false));
        assert!(!seen.look(true));
    }
}
