//! Reads what is shared: at most one lease a key, and nothing that is void by its tags.

use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{core::Core, local::Copy};
use crate::domain::{
    Ask, Captured, Entered, Entry, Found, Given, Key, Lease, Mark, Outcome, Read, Tag, Wanted,
};

/// How often a value may be replaced by another void one while it is read.
const ROUNDS: usize = 3;
/// When to ask again where nothing better is known.
const SHORTLY_US: u64 = 50_000;

/// What a caller wants of a key.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub(super) key: Key,
    /// What the value will carry, with what is carried by that and the namespace's own.
    pub(super) tags: Arc<[Tag]>,
    /// Nothing of the memory of this process will do.
    pub(super) through: bool,
    /// A lease will be used.
    pub(super) leases: bool,
    /// Of the early refresh.
    pub(super) luck: f64,
}

/// What was found, to be shared by those who asked together.
#[derive(Default)]
pub(super) struct Fetched {
    entry: Option<(Arc<Entry>, bool)>,
    /// Of whoever takes it first.
    lease: Mutex<Option<Given>>,
    retry_us: u64,
    void: Option<u64>,
    degraded: bool,
}

impl Fetched {
    /// What one of those who asked is answered.
    pub(super) fn answer(&self, leases: bool) -> Read {
        let lease = leases.then(|| self.lease.lock().take()).flatten();
        let outcome = match (&self.entry, lease) {
            (Some(_), Some(_)) => Outcome::StaleLoad,
            (Some((_, true)), None) => Outcome::Hit,
            (Some((_, false)), None) => Outcome::Stale,
            (None, Some(_)) => Outcome::MissLoad,
            (None, None) if leases => Outcome::MissWait,
            (None, None) => Outcome::Miss,
        };
        let entry = self.entry.as_ref().map(|(entry, _)| entry.clone());
        let retry_us = if outcome == Outcome::MissWait { self.retry_us } else { 0 };
        let (void, degraded) = (self.void, self.degraded);
        Read { outcome, entry, lease, retry_us, void, degraded, local: false }
    }
}

/// Versions of tags, as far as one call needs them.
#[derive(Default)]
struct Versions {
    of: AHashMap<Mark, u64>,
    degraded: bool,
}

impl Versions {
    fn capture(&self, key: &Key, tags: &[Tag]) -> Captured {
        let version = |tag: &Tag| {
            let mark = Mark { namespace: key.namespace.clone(), tag: tag.clone() };
            self.of.get(&mark).map(|version| (tag.clone(), *version))
        };
        tags.iter().filter_map(version).collect()
    }

    fn hold(&self, key: &Key, captured: &Captured) -> bool {
        captured.iter().all(|(tag, version)| {
            let mark = Mark { namespace: key.namespace.clone(), tag: tag.clone() };
            self.of.get(&mark) == Some(version)
        })
    }
}

impl Core {
    /// The present versions of tags, for values that are to be stored.
    pub(super) async fn capture(&self, all: &[Entered]) -> Vec<Captured> {
        let mut versions = Versions::default();
        let marks = all.iter().flat_map(|of| marks(&of.key, &of.tags)).collect();
        self.ask_versions(&mut versions, marks).await;
        all.iter().map(|of| versions.capture(&of.key, &of.tags)).collect()
    }

    /// Reads one key.
    pub(super) async fn fetch_one(&self, want: &Want) -> Fetched {
        // There is one for each.
        self.fetch(std::slice::from_ref(want)).await.pop().unwrap_or_default()
    }

    /// Reads each key in as few round trips as that takes.
    pub(super) async fn fetch(&self, wants: &[Want]) -> Vec<Fetched> {
        let (mut versions, all_voided) = (Versions::default(), self.known.all_voided());
        let leasing = wants.iter().filter(|want| want.leases);
        let wanted = leasing.flat_map(|want| marks(&want.key, &want.tags)).collect();
        self.learn(&mut versions, wanted, wants.iter().any(|want| want.through)).await;
        let mut done: Vec<Option<Fetched>> = wants.iter().map(|_| None).collect();
        let mut voids = AHashMap::<usize, u64>::new();
        for round in 0..ROUNDS {
            let open: Vec<usize> = (0..wants.len()).filter(|at| done[*at].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let asks: Vec<Ask> =
                open.iter().map(|at| ask(&wants[*at], &versions, voids.get(at))).collect();
            let (asked, changes) = (Instant::now(), self.changes(&asks));
            let looked = self.keeper.look(&asks).await;
            let through = wants.iter().any(|want| want.through);
            self.learn_of(&mut versions, &looked.value, through, &asks).await;
            let degraded = looked.degraded || versions.degraded;
            for ((at, found), (ask, changes)) in
                open.into_iter().zip(looked.value).zip(asks.iter().zip(changes))
            {
                let void = found.seen.as_ref().map(|seen| &seen.entry);
                let void = void.filter(|entry| !versions.hold(&ask.key, &entry.captured));
                let void = void.map(|entry| entry.version);
                if let (Some(void), Lease::None, true) = (void, found.lease, round + 1 < ROUNDS) {
                    voids.insert(at, void);
                    continue;
                }
                if let (Some(seen), None, false) = (&found.seen, void, degraded) {
                    let voided = self.known.voided(&ask.key.namespace.name, &seen.entry.captured);
                    let voided = (self.known.all_voided() == all_voided).then_some(voided);
                    self.local.note(&ask.key, Copy::of(seen, asked, voided), changes);
                }
                done[at] = Some(fetched(found, void, ask, degraded));
            }
        }
        done.into_iter().flatten().collect()
    }

    fn changes(&self, asks: &[Ask]) -> Vec<u64> {
        asks.iter().map(|ask| self.local.shards().changes(&ask.key)).collect()
    }

    /// Learns of these what is not known, or all of them anew.
    async fn learn(&self, versions: &mut Versions, mut marks: Vec<Mark>, anew: bool) {
        marks.retain(|mark| !versions.of.contains_key(mark));
        let now = Instant::now();
        if !anew && self.hears(now) {
            marks.retain(|mark| {
                let known = self.known.get(&mark.namespace.name, &mark.tag, now);
                versions.of.extend(known.map(|version| (mark.clone(), version)));
                known.is_none()
            });
        }
        self.ask_versions(versions, marks).await;
    }

    /// Learns what these values were stored under. What differs from what was known may
    /// have changed since: it is asked for.
    async fn learn_of(&self, versions: &mut Versions, found: &[Found], anew: bool, asks: &[Ask]) {
        let mut asked = Vec::new();
        for (found, ask) in found.iter().zip(asks) {
            let Some(seen) = &found.seen else { continue };
            let tags = seen.entry.captured.iter().map(|(tag, _)| tag.clone());
            asked.extend(marks(&ask.key, &tags.collect::<Vec<_>>()));
        }
        self.learn(versions, asked, anew).await;
        if anew {
            return;
        }
        let mut doubtful = Vec::new();
        for (found, ask) in found.iter().zip(asks) {
            let Some(seen) = &found.seen else { continue };
            for (tag, version) in seen.entry.captured.iter() {
                let mark = Mark { namespace: ask.key.namespace.clone(), tag: tag.clone() };
                if versions.of.get(&mark) != Some(version) {
                    doubtful.push(mark);
                }
            }
        }
        self.ask_versions(versions, doubtful).await;
    }

    async fn ask_versions(&self, versions: &mut Versions, mut marks: Vec<Mark>) {
        marks.sort_by(|one, other| {
            (&one.namespace.name, &one.tag).cmp(&(&other.namespace.name, &other.tag))
        });
        marks.dedup();
        let asked = self.known.asked(&marks);
        let told = self.keeper.versions(&marks).await;
        if told.degraded {
            versions.degraded = true;
        } else {
            self.known.note(&marks, &told.value, &asked);
        }
        versions.of.extend(marks.into_iter().zip(told.value));
    }
}

fn marks(key: &Key, tags: &[Tag]) -> Vec<Mark> {
    let mark = |tag: &Tag| Mark { namespace: key.namespace.clone(), tag: tag.clone() };
    tags.iter().map(mark).collect()
}

fn ask(want: &Want, versions: &Versions, void: Option<&u64>) -> Ask {
    let wanted = want.leases.then(|| Wanted {
        token: rand::random(),
        captured: versions.capture(&want.key, &want.tags),
    });
    Ask { key: want.key.clone(), wanted, void: void.copied(), luck: want.luck }
}

fn fetched(found: Found, void: Option<u64>, ask: &Ask, degraded: bool) -> Fetched {
    let seen = found.seen.filter(|_| void.is_none());
    let entry = seen.map(|seen| (seen.entry.clone(), seen.is_fresh()));
    let (lease, retry_us) = match found.lease {
        Lease::Given { lasts_us } => {
            let given = ask.wanted.as_ref().map(|wanted| Given { token: wanted.token, lasts_us });
            (given, lasts_us)
        }
        Lease::Held { left_us } => (None, left_us),
        Lease::None => (None, SHORTLY_US),
    };
    let lease = Mutex::new(lease);
    Fetched { entry, lease, retry_us, void: void.or(ask.void), degraded }
}
