//! One connection, and what is known about it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{RedisResult, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{cluster::Member, fence::Fence, patient::Patient, place::Moved, script::Locks};

/// Silences in a row after which a server is taken for frozen.
const SILENCES: u32 = 3;
/// Measurements after which the best of them is better than an older one.
const STALE: u32 = 8;

/// A connection that many callers share.
pub(super) struct Link {
    connection: Patient,
    /// Set once, when no more is expected of it.
    pub(super) broken: CancellationToken,
    silences: AtomicU32,
    /// It has answered a call, not only the first questions.
    served: AtomicBool,
    clock: Mutex<Clock>,
    begin: Instant,
    pub(super) locks: Locks,
    server: Server,
}

/// Where a connection leads.
pub(super) struct Server {
    /// Tells that it leads to the wrong one by now.
    pub(super) moved: Moved,
    pub(super) life: Life,
}

/// How to see that the server's data is what it was.
pub(super) enum Life {
    /// It has all, and this run id.
    Alone(Arc<Fence>, String),
    /// It has some of a cluster's.
    Member(Member),
}

/// How far the server's clock is ahead of the time since the link's begin: at
/// least `low`, at most `high`, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offset {
    low: i64,
    high: i64,
}

impl Offset {
    /// The server's clock showed `server` at some time between the two.
    fn measured(server: i64, sent: i64, received: i64) -> Self {
        Self { low: server - received, high: server - sent }
    }

    /// True when the new one is the better of the two: the narrower one, or one
    /// that contradicts, which means that a clock was set.
    fn yields_to(self, new: Self) -> bool {
        let contradicts = new.low > self.high || new.high < self.low;
        contradicts || new.high - new.low <= self.high - self.low
    }
}

/// What is gone by, and what comes in its place when it is old: the best of
/// those measured since, not the last. One slow answer would make every deadline
/// too early by as much.
#[derive(Clone, Copy, Debug)]
struct Clock {
    best: Offset,
    since: Option<Offset>,
    age: u32,
}

impl Clock {
    fn new(best: Offset) -> Self {
        Self { best, since: None, age: 0 }
    }

    fn measured(&mut self, new: Offset) {
        if self.best.yields_to(new) {
            *self = Self::new(new);
            return;
        }
        let since = self.since.filter(|since| !since.yields_to(new)).unwrap_or(new);
        self.since = Some(since);
        self.age += 1;
        if self.age >= STALE {
            *self = Self::new(since);
        }
    }
}

impl Link {
    /// A connection to this server, whose clock showed `time` between `sent` and
    /// now.
    pub(super) fn new(
        connection: Patient,
        (sent, time): (Instant, (i64, i64)),
        locks: Locks,
        server: Server,
    ) -> Self {
        let received = us(sent.elapsed());
        Self {
            connection,
            broken: CancellationToken::new(),
            silences: AtomicU32::new(0),
            served: AtomicBool::new(false),
            clock: Mutex::new(Clock::new(Offset::measured(microseconds(time), 0, received))),
            begin: sent,
            locks,
            server,
        }
    }

    /// A handle of the connection that waits for an answer this long.
    pub(super) fn patient(&self, patience: Duration) -> Patient {
        self.connection.waits(patience)
    }

    /// The deadline in milliseconds of the server's clock, rather too early
    /// than too late: by the time that the best measurement took.
    pub(super) fn not_after_ms(&self, deadline: Instant) -> i64 {
        let low = self.clock.lock().best.low;
        (us(deadline.saturating_duration_since(self.begin)) + low).div_euclid(1_000)
    }

    /// Compares the server with what its data was written by, see the fence.
    pub(super) async fn compare(&self, timeout: Duration) -> RedisResult<()> {
        let mut connection = self.patient(timeout);
        match &self.server.life {
            Life::Alone(fence, run_id) => fence.pass(&mut connection, run_id).await,
            Life::Member(member) => member.compare(&mut connection).await,
        }
    }

    /// Asks the server for its time, writes, and looks whether its data is
    /// still the same: one that was emptied under us begins a new generation.
    pub(super) async fn beat(&self, timeout: Duration) -> RedisResult<()> {
        let sent = Instant::now();
        let mut connection = self.patient(timeout);
        let mut pipe = redis::pipe();
        pipe.cmd("TIME");
        match &self.server.life {
            Life::Alone(fence, _) => fence.pulse(&mut pipe),
            Life::Member(member) => member.pulse(&mut pipe),
        }
        pipe.ignore_errors();
        let said: Vec<Value> = pipe.query_async(&mut connection).await?;
        let Some((time, said)) = said.split_first() else { return Ok(()) };
        let server = microseconds(redis::from_redis_value_ref(answered(time)?)?);
        let sent = us(sent.saturating_duration_since(self.begin));
        let measured = Offset::measured(server, sent, us(self.begin.elapsed()));
        self.clock.lock().measured(measured);
        match &self.server.life {
            Life::Alone(fence, _) => self.heed(fence, said, timeout).await,
            Life::Member(member) => member.heed(said, &mut connection).await,
        }
    }

    async fn heed(&self, fence: &Fence, said: &[Value], timeout: Duration) -> RedisResult<()> {
        let (written, generation) = (said.first().map(answered), said.get(1).map(answered));
        written.transpose()?;
        match generation.transpose()?.map(redis::from_redis_value_ref).transpose()?.flatten() {
            Some::<String>(generation) if fence.confirms(&generation) => Ok(()),
            // Whoever connects anew is led to the other server.
            Some(_) => Err(io::Error::other("another server holds the data by now").into()),
            None => self.compare(timeout).await,
        }
    }

    /// Waits until it leads to the wrong server. Cancel safe.
    pub(super) async fn moved(&self) {
        self.server.moved.moved().await;
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

/// What a server said, of a pipeline whose refusals are told one by one.
pub(crate) fn answered(value: &Value) -> RedisResult<&Value> {
    match value {
        Value::ServerError(error) => Err(error.clone().into()),
        value => Ok(value),
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
    fn the_narrowest_measurement_is_kept_and_when_it_is_old_the_best_since() {
        let narrow = Offset::measured(1_000, 10, 20);
        let wider = Offset::measured(1_000, 5, 30);
        let slow = Offset::measured(1_000, 0, 250_000);
        let mut clock = Clock::new(narrow);
        for at in 1..STALE {
            clock.measured(if at == 3 { wider } else { slow });
            assert_eq!(clock.best, narrow, "{at}");
        }
        clock.measured(slow);
        assert_eq!(clock.best, wider, "the eighth was slow");
        clock.measured(narrow);
        assert_eq!(clock.best, narrow);
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        for (server, sent) in [(500, 1_000), (9_000_000, 1_000)] {
            let mut clock = Clock::new(Offset::measured(1_000_000, 10, 20));
            clock.measured(Offset::measured(1_000_000, 0, 400));
            let set = Offset::measured(server, sent, 9_000);
            clock.measured(set);
            assert_eq!((clock.best, clock.since), (set, None));
        }
    }
}
