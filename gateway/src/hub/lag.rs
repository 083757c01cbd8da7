//! How long an event is on its way from chat's commit to the sockets' queues.

use std::time::Duration;

use mingle_proto::Timestamp;

/// Counts what was published at this time, by the clock of another machine. One
/// that is ahead of ours would make time run backwards: that counts as none.
pub(super) fn record(published_at: Option<Timestamp>, now_ms: i64) {
    let Some(published_at) = published_at else { return };
    let lag = u64::try_from(now_ms.saturating_sub(published_at.millis()));
    let lag = lag.unwrap_or_else(|_| {
        metrics::counter!("mingle_delivery_lag_negative_total").increment(1);
        0
    });
    metrics::histogram!("mingle_delivery_lag_seconds").record(Duration::from_millis(lag));
}
