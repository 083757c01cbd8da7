//! Whether the server was silent.

use std::time::Duration;

use tokio::time::Instant;

/// When the server was heard. By this process's time: the server's may have
/// stood still.
#[derive(Default)]
pub(super) struct Contact {
    last: Option<Instant>,
    /// It was called in vain since.
    pub(super) missed: bool,
    /// Nobody is looked at before.
    rest_until: Option<Instant>,
}

impl Contact {
    /// True when looks may be. After a silence in which no node could renew,
    /// not before they had the time to register again: else everybody would be
    /// told offline and online again.
    pub(super) fn hears(&mut self, now: Instant, lease: Duration) -> bool {
        let missed = std::mem::take(&mut self.missed);
        if missed && self.last.is_some_and(|last| now - last > lease) {
            self.rest_until = Some(now + lease);
        }
        self.last = Some(now);
        self.rest_until.is_none_or(|until| now >= until)
    }
}
