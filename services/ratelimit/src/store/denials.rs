//! Denials that are remembered until they end: nobody asks Redis about a subject that
//! has nothing left.
//!
//! A denial says when the same cost is admitted at the earliest. Until then it is the
//! answer to whoever asks for the same, unless something was given back: refunds and
//! resets are told to every instance by the bus. Leases are not remembered, since each
//! that is released may end a denial.
//!
//! | what fails | what follows |
//! | --- | --- |
//! | what is asked may have been charged before, by an id that another instance knows | whoever does not say that the id is new asks Redis |
//! | a refund overtakes a denial that is on its way here | something was dropped meanwhile: the denial is not remembered |
//! | the bus is not heard here | no denial is answered from memory, and when it is heard again all are dropped |
//! | a refund is not announced: Redis is away, or this process dies between the two | who made it owes it: a gap with its next heartbeat, or that of its death; all are dropped |
//! | this process is frozen, and a refund is announced meanwhile | it is read first or is a gap; a call that came first is denied once more |
//! | Redis loses its data | a new generation: all are dropped |
//! | the limit is another one by now | it is not the one that denied: Redis is asked |
//! | too many | the least used are dropped |

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ahash::RandomState;
use bytes::Bytes;
use mingle_store::{
    bus::{Announcement, Bus, Delivery},
    redis::Generation,
};
use moka::sync::Cache;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::name::short;
use crate::domain::{Algorithm, Answer, Ask, Limit, NEVER, Source, Verdict};

/// Where subjects are announced whose denials may have ended.
const TOPIC: &str = "ratelimit-dropped";
/// Denials of one subject, of several costs and limits.
const OF_ONE: usize = 8;
/// What is dropped is counted by so many kinds of subjects.
const SHARDS: usize = 16;
/// No denial is remembered for longer.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Clone)]
struct Denial {
    cost: u64,
    limits: Vec<Arc<Limit>>,
    answer: Answer,
    since: Instant,
    until: Instant,
}

impl Denial {
    fn is_of(&self, ask: &Ask) -> bool {
        self.cost == ask.cost && ask.is_of(&self.limits)
    }

    /// As it is by now. What others charged since is not in it.
    fn at(&self, now: Instant) -> Answer {
        let gone_us = u64::try_from((now - self.since).as_micros()).unwrap_or(u64::MAX);
        let mut answer = Answer { source: Source::Denial, ..self.answer.clone() };
        for standing in &mut answer.standings {
            standing.reset_us = standing.reset_us.saturating_sub(gone_us);
            if standing.retry_us != NEVER {
                standing.retry_us = standing.retry_us.saturating_sub(gone_us);
            }
            standing.allowed = standing.retry_us == 0;
        }
        answer
    }
}

/// A moment before something was asked: what came after it may contradict the answer.
#[derive(Clone, Copy)]
pub(super) struct Moment([u64; SHARDS], Instant);

/// See the module.
pub(super) struct Denials {
    /// By subject, as keys have it.
    kept: Cache<String, Arc<[Denial]>, RandomState>,
    drops: [AtomicU64; SHARDS],
    /// What is dropped elsewhere is followed: before and after, nothing is remembered.
    is_told: AtomicBool,
    bus: Arc<dyn Bus>,
}

impl Denials {
    /// Remembers the denials of so many subjects.
    pub(super) fn new(bus: Arc<dyn Bus>, subjects: usize) -> Arc<Self> {
        let subjects = u64::try_from(subjects).unwrap_or(u64::MAX);
        let kept = Cache::builder().max_capacity(subjects);
        let kept = kept.build_with_hasher(RandomState::new());
        Arc::new(Self { kept, drops: Default::default(), is_told: AtomicBool::new(false), bus })
    }

    /// Follows what is dropped elsewhere, until `stop`.
    pub(super) async fn follow(
        self: Arc<Self>,
        mut data: watch::Receiver<Option<Generation>>,
        stop: CancellationToken,
    ) {
        let following = async {
            let Ok(mut dropped) = self.bus.subscribe(TOPIC).await else { return };
            self.drop_all();
            self.is_told.store(true, Ordering::Release);
            loop {
                tokio::select! {
                    delivery = dropped.recv() => match delivery {
                        Some(Delivery::Message(tag)) => self.drop_one(&tag),
                        Some(Delivery::Gap) => self.drop_all(),
                        None => return,
                    },
                    changed = data.changed() => match changed {
                        Ok(()) => self.drop_all(),
                        Err(_) => return,
                    },
                }
            }
        };
        stop.run_until_cancelled(following).await;
        self.is_told.store(false, Ordering::Release);
    }

    /// Now.
    pub(super) fn moment(&self) -> Moment {
        let drops = self.drops.each_ref().map(|drops| drops.load(Ordering::Acquire));
        Moment(drops, Instant::now())
    }

    /// What is known of an ask.
    pub(super) fn find(&self, ask: &Ask) -> Option<Answer> {
        let is_told = self.is_told.load(Ordering::Acquire) && self.bus.is_heard();
        if !ask.is_new || ask.cost == 0 || !is_told {
            return None;
        }
        let (known, now) = (self.kept.get(&short(&ask.subject))?, Instant::now());
        let denial = known.iter().find(|denial| denial.until > now && denial.is_of(ask));
        denial.map(|denial| denial.at(now))
    }

    /// Remembers a denial of what was asked after `asked`.
    pub(super) fn note(&self, ask: &Ask, answer: &Answer, asked: Moment) {
        let is_held = |limit: &Arc<Limit>| limit.algorithm == Algorithm::Concurrency;
        let retry_us = answer.retry_us(ask);
        let lasts = answer.verdict == Verdict::Denied && retry_us != NEVER;
        if !lasts || ask.limits.iter().any(is_held) {
            return;
        }
        let Moment(drops, since) = asked;
        let until = since + Duration::from_micros(retry_us).min(LONGEST);
        let denial = Denial {
            cost: ask.cost,
            limits: ask.limits.clone(),
            answer: answer.clone(),
            since,
            until,
        };
        let tag = short(&ask.subject);
        self.kept.entry_by_ref(&tag).and_upsert_with(|known| {
            let known = known.map(moka::Entry::into_value);
            let others = known.iter().flat_map(|known| known.iter());
            let others = others.filter(|it| it.until > since && !it.is_of(ask)).cloned();
            std::iter::once(denial).chain(others).take(OF_ONE).collect::<Vec<_>>().into()
        });
        // What was dropped before this was there is not dropped again.
        let shard = shard(tag.as_bytes());
        if self.drops[shard].load(Ordering::Acquire) != drops[shard] {
            self.kept.invalidate(&tag);
        }
    }

    /// Something was given back to a subject: every instance forgets its denials.
    pub(super) async fn end(&self, subject: &str) {
        let tag = Bytes::from(short(subject));
        self.drop_one(&tag);
        // Who cannot announce it owes it: a gap follows.
        let _ = self.bus.publish(&[Announcement::new(TOPIC, tag)]).await;
    }

    fn drop_one(&self, tag: &[u8]) {
        self.drops[shard(tag)].fetch_add(1, Ordering::AcqRel);
        match std::str::from_utf8(tag) {
            Ok(tag) => self.kept.invalidate(tag),
            Err(_) => self.drop_all(),
        }
    }

    /// Forgets all: something may have been missed, or the limits are others.
    pub(super) fn drop_all(&self) {
        for drops in &self.drops {
            drops.fetch_add(1, Ordering::AcqRel);
        }
        self.kept.invalidate_all();
    }
}

/// Of a subject, by its tag.
fn shard(tag: &[u8]) -> usize {
    usize::from(tag.first().copied().unwrap_or_default()) % SHARDS
}
