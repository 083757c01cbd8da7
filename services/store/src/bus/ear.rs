//! What one source lets this process hear, and when it must not be believed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use super::{Options, beat::Beat, peers::Peers, topics::Topics};
use crate::Error;

/// One line per source and this long tells of what may be missing.
const QUIET: Duration = Duration::from_secs(60);

/// Since when a source is heard, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It is listened to, all topics confirmed.
    Since(Instant),
    /// Nothing of it arrives.
    NotSince(Instant),
}

impl Hearing {
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Since(_))
    }
}

/// What was missed, and what the log has told of it: a busy machine misses a
/// heartbeat each second.
#[derive(Default)]
struct Missing {
    told: Option<Instant>,
    untold: u32,
}

impl Missing {
    /// Counts one; answers how many a line has to tell of, if one is due.
    fn note(&mut self, now: Instant) -> Option<u32> {
        self.untold += 1;
        if self.told.is_some_and(|told| now - told < QUIET) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

struct State {
    missing: Missing,
    last_heard: Instant,
    own_owed: u64,
    /// Since when what is heard of this process is that Redis does not reach it.
    own_deaf: Option<Instant>,
    peers: Peers,
}

/// The listening side of one source.
pub(super) struct Ear {
    name: &'static str,
    topics: Arc<Topics>,
    options: Options,
    /// The id of this process.
    own: u64,
    /// Announcements owed to those who listen to this source.
    pub(super) owed: AtomicU64,
    hearing: watch::Sender<Hearing>,
    state: Mutex<State>,
    /// A beat is wanted at once.
    wanted: Notify,
}

impl Ear {
    pub(super) fn new(name: &'static str, topics: Arc<Topics>, options: Options, own: u64) -> Self {
        let now = Instant::now();
        let peers = Peers::new(options.lost_after, now);
        let state = Mutex::new(State {
            missing: Missing::default(),
            last_heard: now,
            own_owed: 0,
            own_deaf: None,
            peers,
        });
        let hearing = watch::Sender::new(Hearing::NotSince(now));
        let (owed, wanted) = (AtomicU64::new(0), Notify::new());
        Self { name, topics, options, own, owed, hearing, state, wanted }
    }

    /// A connection begins: it has its time to be heard.
    pub(super) fn begin(&self) {
        self.state.lock().last_heard = Instant::now();
    }

    /// Listened to, and not heard yet: this process beats at once.
    pub(super) fn want_beat(&self) {
        self.wanted.notify_one();
    }

    /// Waits until a beat is wanted. Cancel safe.
    pub(super) async fn beat_wanted(&self) {
        self.wanted.notified().await;
    }

    /// Everything is listened to from now on. What was before is a gap.
    pub(super) fn open(&self) {
        let now = Instant::now();
        {
            let mut state = self.state.lock();
            state.last_heard = now;
            state.own_deaf = None;
            state.peers.begin(now);
        }
        tracing::info!(bus.source = self.name, "the bus listens");
        // First: whoever subscribes to an open source is told of nothing.
        self.topics.gap_everywhere();
        self.hearing.send_replace(Hearing::Since(now));
    }

    /// The connection is lost.
    pub(super) fn shut(&self, error: &Error) {
        let lost = self.hearing.send_if_modified(|hearing| {
            let was_open = hearing.is_open();
            if was_open {
                *hearing = Hearing::NotSince(Instant::now());
            }
            was_open
        });
        let cause = std::error::Error::source(error).map(ToString::to_string);
        if lost {
            tracing::warn!(bus.source = self.name, %error, cause, "the bus lost a source");
        } else {
            tracing::debug!(bus.source = self.name, %error, cause, "the bus still lacks it");
        }
    }

    pub(super) fn hearing(&self) -> Hearing {
        *self.hearing.borrow()
    }

    /// Told at each change.
    pub(super) fn changes(&self) -> watch::Receiver<Hearing> {
        self.hearing.subscribe()
    }

    pub(super) fn message(&self, topic: &str, payload: &Bytes) {
        self.heard();
        self.topics.deliver(topic, payload);
    }

    /// Something on `topic` could not be carried.
    pub(super) fn gap(&self, topic: &str) {
        self.heard();
        self.topics.gap(topic);
    }

    /// Something came that cannot be read: it may have been anything.
    pub(super) fn unreadable(&self) {
        self.heard();
        tracing::debug!(bus.source = self.name, "an unreadable announcement is a gap");
        self.topics.gap_everywhere();
    }

    pub(super) fn beat(&self, bytes: &[u8]) {
        // A newer version's beat is a sign of life and no more.
        let Some(beat) = Beat::decode(bytes) else { return self.heard() };
        let now = Instant::now();
        let missed = {
            let mut state = self.state.lock();
            state.last_heard = now;
            if beat.id == self.own {
                let since = state.own_deaf.unwrap_or(now);
                state.own_deaf = (!beat.hears_redis).then_some(since);
                let owed = std::mem::replace(&mut state.own_owed, beat.owed);
                owed < beat.owed
            } else {
                state.peers.hear(&beat, now)
            }
        };
        if missed {
            self.missed("a heartbeat of another process was missing, and what it announced then");
        }
    }

    /// Since when the others can have heard that Redis does not reach this
    /// process: it has heard so itself.
    pub(super) fn own_deaf(&self) -> Option<Instant> {
        self.state.lock().own_deaf
    }

    fn heard(&self) {
        self.state.lock().last_heard = Instant::now();
    }

    /// When the source counts as lost if nothing is heard of it before.
    pub(super) fn silent_at(&self) -> Instant {
        self.state.lock().last_heard + self.options.lost_after
    }

    /// Looks whether a process has fallen silent on a source that is heard.
    pub(super) fn sweep(&self) {
        if self.hearing().is_open() && self.state.lock().peers.sweep(Instant::now()) {
            self.missed("another process is not heard: it ended, hangs, or is cut off from here");
        }
    }

    fn missed(&self, why: &'static str) {
        if let Some(times) = self.state.lock().missing.note(Instant::now()) {
            tracing::info!(
                bus.source = self.name,
                why,
                times,
                "announcements may be missing here: what is followed is read again from where it \
                 was"
            );
        }
        self.topics.gap_everywhere();
    }

    pub(super) fn anyone_misses_redis(&self) -> bool {
        self.state.lock().peers.anyone_misses_redis()
    }

    /// How many do any of `kinds`, this process included; `None` while the
    /// source was not heard for long enough to know.
    pub(super) fn company(&self, kinds: u64) -> Option<u32> {
        let Hearing::Since(since) = self.hearing() else { return None };
        let settled = since.elapsed() >= self.options.lost_after;
        let own = usize::from(self.options.kinds & kinds != 0);
        let others = || self.state.lock().peers.count(kinds);
        settled.then(|| u32::try_from(own + others()).unwrap_or(u32::MAX))
    }

    /// True when everyone who is there by the other source is so by this one.
    /// Not to be asked of two ears both ways at once: each is locked in turn.
    pub(super) fn hears_all_of(&self, other: &Self) -> bool {
        let heard = self.state.lock();
        other.state.lock().peers.are_all_in(&heard.peers)
    }

    /// What this process says of itself here.
    pub(super) fn own_beat(&self, number: u64, hears_redis: bool, leaving: bool) -> Bytes {
        let owed = self.owed.load(Ordering::Acquire);
        let kinds = self.options.kinds;
        Beat { id: self.own, number, owed, hears_redis, leaving, kinds }.encode()
    }

    /// Waits until the source is heard, but only for so long after it was
    /// lost, so that a thousand subscribers wait together and not in turn.
    pub(super) async fn opened(&self) -> bool {
        let mut changes = self.changes();
        let Hearing::NotSince(lost) = *changes.borrow_and_update() else { return true };
        let opened = changes.wait_for(|hearing| hearing.is_open());
        matches!(timeout_at(lost + self.options.subscribe, opened).await, Ok(Ok(_)))
    }

    pub(super) fn lost_after(&self) -> Duration {
        self.options.lost_after
    }

    /// How long one subscriber waits for its confirmation.
    pub(super) fn patience(&self) -> Duration {
        self.options.subscribe
    }
}
