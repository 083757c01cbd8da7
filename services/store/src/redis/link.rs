//! One connection, and what is known about it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fence::Fence;

/// Silences in a row after which a server is taken for frozen.
const SILENCES: u32 = 3;
/// Measurements after which a worse one is better than an old one.
const STALE: u32 = 8;

/// A connection that many callers share.
pub(super) struct Link {
    connection: MultiplexedConnection,
    /// Set once, when no more is expected of it.
    pub(super) broken: CancellationToken,
    silences: AtomicU32,
    /// It has answered a call, not only the first questions.
    served: AtomicBool,
    clock: Mutex<Offset>,
    begin: Instant,
    fence: Arc<Fence>,
    /// Of the server's process.
    run_id: String,
}

/// How far the server's clock is ahead of the time since the link's begin: at
/// least `low`, at most `high`, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offset {
    low: i64,
    high: i64,
    age: u32,
}

impl Offset {
    /// The server's clock showed `server` at some time between the two.
    fn measured(server: i64, sent: i64, received: i64) -> Self {
        Self { low: server - received, high: server - sent, age: 0 }
    }

    /// The better of the two: the narrower one, until it is old, or until the
    /// new one contradicts it, which means that a clock was set.
    fn or(self, new: Self) -> Self {
        let contradicts = new.low > self.high || new.high < self.low;
        let narrower = new.high - new.low <= self.high - self.low;
        if contradicts || narrower || self.age >= STALE {
            new
        } else {
            Self { age: self.age + 1, ..self }
        }
    }
}

impl Link {
    /// A connection to the server of this run id, whose clock showed `time`
    /// between `sent` and now.
    pub(super) fn new(
        connection: MultiplexedConnection,
        (sent, time): (Instant, (i64, i64)),
        fence: Arc<Fence>,
        run_id: &str,
    ) -> Self {
        let received = us(sent.elapsed());
        Self {
            connection,
            broken: CancellationToken::new(),
            silences: AtomicU32::new(0),
            served: AtomicBool::new(false),
            clock: Mutex::new(Offset::measured(microseconds(time), 0, received)),
            begin: sent,
            fence,
            run_id: run_id.to_owned(),
        }
    }

    /// A handle of the connection that waits for an answer this long.
    pub(super) fn patient(&self, patience: Duration) -> MultiplexedConnection {
        let mut connection = self.connection.clone();
        connection.set_response_timeout(patience);
        connection
    }

    /// The deadline in milliseconds of the server's clock, rather too early
    /// than too late: by the time that the best measurement took.
    pub(super) fn not_after_ms(&self, deadline: Instant) -> i64 {
        let low = self.clock.lock().low;
        (us(deadline.saturating_duration_since(self.begin)) + low).div_euclid(1_000)
    }

    /// Compares the server with what its data was written by, see the fence.
    pub(super) async fn compare(&self, timeout: Duration) -> RedisResult<()> {
        self.fence.compare(&mut self.patient(timeout), &self.run_id).await
    }

    /// Asks the server for its time, writes, and looks whether its data is
    /// still the same: one that was emptied under us begins a new generation.
    pub(super) async fn beat(&self, timeout: Duration) -> RedisResult<()> {
        let sent = Instant::now();
        let mut connection = self.patient(timeout);
        let mut pipe = redis::pipe();
        pipe.cmd("TIME");
        self.fence.pulse(&mut pipe);
        let (time, generation): (_, Option<String>) = pipe.query_async(&mut connection).await?;
        let server = microseconds(time);
        let sent = us(sent.saturating_duration_since(self.begin));
        let measured = Offset::measured(server, sent, us(self.begin.elapsed()));
        {
            let mut clock = self.clock.lock();
            *clock = clock.or(measured);
        }
        match generation {
            Some(generation) => {
                self.fence.hold(generation);
                Ok(())
            }
            None => self.compare(timeout).await,
        }
    }

    /// It answered.
    pub(super) fn heard(&self) {
        // Only written when something changes: all callers share it.
        if !self.has_served() {
            self.served.store(true, Ordering::Relaxed);
        }
        if self.silences.load(Ordering::Relaxed) != 0 {
            self.silences.store(0, Ordering::Relaxed);
        }
    }

    /// True when it was of use.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// It did not answer in time. True when that was once too often.
    pub(super) fn silent(&self) -> bool {
        self.silences.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCES
    }
}

fn microseconds((seconds, rest): (i64, i64)) -> i64 {
    seconds.saturating_mul(1_000_000).saturating_add(rest)
}

fn us(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_measurement_is_kept_until_it_is_old() {
        let narrow = Offset::measured(1_000, 10, 20);
        let wide = Offset::measured(1_000, 0, 500);
        assert_eq!((narrow.low, narrow.high), (980, 990));
        let mut kept = narrow;
        for age in 1..=STALE {
            kept = kept.or(wide);
            assert_eq!(kept, Offset { age, ..narrow });
        }
        assert_eq!(kept.or(wide), wide);
        assert_eq!(wide.or(narrow), narrow);
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let before = Offset::measured(1_000_000, 10, 20);
        let set_back = Offset::measured(500, 1_000, 9_000);
        assert_eq!(before.or(set_back), set_back);
        let set_on = Offset::measured(9_000_000, 1_000, 9_000);
        assert_eq!(before.or(set_on), set_on);
    }
}
