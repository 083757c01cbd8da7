//! A part of the subjects, and in which second each of them ends.
//!
//! Most that is charged makes a subject end later: that is found when its turn has come,
//! and it is listed anew then. So a charge costs no change of the list,
//! and who comes new to a shard that is full may once wait for all of it to be listed anew.

use std::{collections::BTreeMap, sync::Arc};

use ahash::AHashMap;

use super::subject::Subject;

/// Subjects that have ended, or end later than listed, and are seen to by one call.
const SEEN_TO: usize = 4;
const SECOND_US: u64 = 1_000_000;

/// A second, and which one of those that were listed: the oldest is the first of its second.
type Listing = (u64, u64);

struct Kept {
    subject: Subject,
    ends_us: u64,
    listed: Listing,
}

#[derive(Default)]
pub(super) struct Shard {
    subjects: AHashMap<Arc<str>, Kept>,
    due: Due,
}

#[derive(Default)]
struct Due {
    /// Of each subject one, at its end or before.
    by_second: BTreeMap<Listing, Arc<str>>,
    listings: u64,
}

impl Due {
    fn list(&mut self, ends_us: u64, name: Arc<str>) -> Listing {
        self.listings += 1;
        let listing = (second(ends_us), self.listings);
        self.by_second.insert(listing, name);
        listing
    }

    fn list_anew(&mut self, kept: &mut Kept) {
        let name = self.by_second.remove(&kept.listed);
        debug_assert!(name.is_some(), "each is listed once");
        if let Some(name) = name {
            kept.listed = self.list(kept.ends_us, name);
        }
    }
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.subjects.len()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Subject> {
        self.subjects.get(name).map(|kept| &kept.subject)
    }

    /// Changes a subject, and keeps it, among `max`, if that says that it has.
    pub(super) fn change<T>(
        &mut self,
        name: &str,
        (now_us, max): (u64, usize),
        change: impl FnOnce(&mut Subject) -> (T, bool),
    ) -> T {
        if let Some(kept) = self.subjects.get_mut(name) {
            let (changed, has_changed) = change(&mut kept.subject);
            if has_changed {
                self.settle(name, now_us);
            }
            return changed;
        }
        let mut subject = Subject::default();
        let (changed, has_changed) = change(&mut subject);
        if has_changed {
            self.make_room(now_us, max);
            self.keep(name, subject, now_us);
        }
        changed
    }

    /// Changes a subject, if it is known.
    pub(super) fn change_known<T>(
        &mut self,
        name: &str,
        now_us: u64,
        change: impl FnOnce(&mut Subject) -> T,
    ) -> Option<T> {
        let changed = change(&mut self.subjects.get_mut(name)?.subject);
        self.settle(name, now_us);
        Some(changed)
    }

    fn keep(&mut self, name: &str, mut subject: Subject, now_us: u64) {
        let ends_us = subject.tidy(now_us);
        if ends_us > 0 {
            let name = Arc::<str>::from(name);
            let listed = self.due.list(ends_us, name.clone());
            self.subjects.insert(name, Kept { subject, ends_us, listed });
        }
    }

    /// What has changed may end at another time, or have ended.
    fn settle(&mut self, name: &str, now_us: u64) {
        let Some(kept) = self.subjects.get_mut(name) else { return };
        kept.ends_us = kept.subject.tidy(now_us);
        if kept.ends_us == 0 {
            self.due.by_second.remove(&kept.listed);
            self.subjects.remove(name);
        } else if second(kept.ends_us) < kept.listed.0 {
            self.due.list_anew(kept);
        }
    }

    /// Forgets a few subjects that have ended, and whom it must to stay within `max`:
    /// of whom the second of the end comes first.
    fn make_room(&mut self, now_us: u64, max: usize) {
        let mut seen_to = 0;
        while let Some(first) = self.due.by_second.first_entry() {
            let is_full = self.subjects.len() >= max;
            let (due, _) = *first.key();
            if !is_full && (due > second(now_us) || seen_to >= SEEN_TO) {
                return;
            }
            seen_to += 1;
            match self.subjects.get_mut(first.get()) {
                Some(kept) if second(kept.ends_us) > due => self.due.list_anew(kept),
                Some(kept) if !is_full && kept.ends_us > now_us => return,
                _ => {
                    let name = first.remove();
                    self.subjects.remove(&name);
                }
            }
        }
    }
}

fn second(us: u64) -> u64 {
    us / SECOND_US
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Algorithm, Ask, Charged, Limit, Outage},
        store::memory::subject::{Back, Memo},
    };

    const MINUTE_US: u64 = 60 * SECOND_US;

    fn charge(shard: &mut Shard, name: &str, at_ms: u64, max: usize) {
        let limit = Limit {
            name: "any".into(),
            algorithm: Algorithm::SlidingWindow,
            quota: 100,
            window_us: MINUTE_US,
            burst: 1,
            outage: Outage::Local,
            shadow: false,
            parts: 1,
        };
        let ask = Ask {
            subject: name.into(),
            charge_id: format!("{name}-{at_ms}"),
            is_new: true,
            cost: 1,
            limits: vec![limit.into()],
        };
        let now_us = at_ms * 1_000;
        let memo = Memo { now_us, remember_us: MINUTE_US, max_charges: 9 };
        shard.change(name, (now_us, max), |it| (it.note(&ask, memo), true));
        assert_eq!(shard.subjects.len(), shard.due.by_second.len(), "each is listed once");
    }

    fn names(shard: &Shard) -> Vec<&str> {
        let mut names: Vec<_> = shard.subjects.keys().map(AsRef::as_ref).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn who_ends_first_is_forgotten_first() {
        let mut shard = Shard::default();
        for (at_ms, name) in [(1_000, "a"), (2_000, "b"), (3_000, "c"), (4_000, "a")] {
            charge(&mut shard, name, at_ms, 3);
        }
        charge(&mut shard, "d", 5_000, 3);
        assert_eq!(names(&shard), ["a", "c", "d"], "a ends later by now than b");
        charge(&mut shard, "e", 5_000, 3);
        assert_eq!(names(&shard), ["a", "d", "e"]);
        charge(&mut shard, "f", 5_000, 3);
        assert_eq!(names(&shard), ["d", "e", "f"]);
        charge(&mut shard, "g", 5_000, 3);
        assert_eq!(names(&shard), ["e", "f", "g"], "of one second the oldest");
    }

    #[test]
    fn who_has_ended_is_forgotten_and_nobody_else() {
        let mut shard = Shard::default();
        for name in ["a", "b", "c", "d", "e", "f"] {
            charge(&mut shard, name, 1_000, 100);
        }
        charge(&mut shard, "f", 40_000, 100);
        charge(&mut shard, "z", 1_700, 100);
        charge(&mut shard, "g", 61_500, 100);
        assert_eq!(shard.len(), 4, "four are seen to by a call");
        charge(&mut shard, "h", 61_500, 100);
        assert_eq!(names(&shard), ["f", "g", "h", "z"], "z ends later within that second");
    }

    #[test]
    fn who_must_be_forgotten_costs_no_more_than_that() {
        let mut shard = Shard::default();
        for name in ["a", "b", "c", "d", "e"] {
            charge(&mut shard, name, 1_000, 100);
            charge(&mut shard, name, 50_000, 100);
        }
        for name in ["f", "g", "h", "i", "j"] {
            charge(&mut shard, name, 2_000, 100);
        }
        charge(&mut shard, "k", 63_000, 10);
        assert_eq!(shard.len(), 10, "five end later than listed, and only one has to go");
    }

    #[test]
    fn who_ends_sooner_is_listed_for_it() {
        let mut shard = Shard::default();
        for (at_ms, name) in
            [(2_000, "a"), (30_000, "a"), (35_000, "b"), (40_000, "a"), (63_000, "c")]
        {
            charge(&mut shard, name, at_ms, 100);
        }
        assert_eq!(shard.subjects["a"].listed.0, 100, "its turn came, and it ended later");
        let last = Charged { subject: "a", charge_id: "a-40000", unless_repeated: false };
        let now_us = 63 * SECOND_US;
        let back = shard.change_known("a", now_us, |it| it.refund(last, now_us));
        assert_eq!(back, Some(Back::Given));
        charge(&mut shard, "d", 63_000, 3);
        assert_eq!(names(&shard), ["b", "c", "d"]);
    }

    #[test]
    fn nothing_is_kept_of_who_has_nothing_left() {
        let mut shard = Shard::default();
        charge(&mut shard, "a", 1_000, 2);
        shard.change_known("a", 100 * SECOND_US, |_| ());
        assert_eq!((shard.len(), shard.due.by_second.len()), (0, 0));
    }
}
