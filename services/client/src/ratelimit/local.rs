//! Counting in this process, for want of a better place.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Subjects that are counted at once, each with each of its limits. Beyond,
/// those are forgotten first whose windows end first.
const MAX_COUNTED: usize = 65_536;
/// Quotas up to this are logged exactly.
const EXACT: u64 = 256;
/// Slots of a window above it.
const PARTS: u128 = 64;

/// A share of a limit.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub(super) quota: u64,
    pub(super) window: Duration,
}

/// What counting said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) allowed: bool,
    pub(super) remaining: u64,
    /// `Duration::MAX`: never.
    pub(super) retry_after: Duration,
    pub(super) reset_after: Duration,
}

pub(super) struct Local {
    began: Instant,
    max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    windows: HashMap<Arc<str>, Window>,
    ends: BTreeSet<(Duration, Arc<str>)>,
}

/// Cost by when its slot ends to count, oldest first.
#[derive(Default)]
struct Window(VecDeque<(Duration, u64)>);

impl Window {
    fn end(&self) -> Duration {
        self.0.back().map_or(Duration::ZERO, |(end, _)| *end)
    }

    /// Up to the quota: beyond, nothing is admitted anyhow.
    fn note(&mut self, share: Share, now: Duration, cost: u64) {
        self.forget(now);
        let cost = cost.min(share.quota.saturating_sub(self.used()));
        if cost > 0 {
            self.add(share, now, cost);
        }
    }

    fn used(&self) -> u64 {
        self.0.iter().map(|(_, cost)| cost).sum()
    }

    fn forget(&mut self, now: Duration) {
        while self.0.front().is_some_and(|(end, _)| *end <= now) {
            self.0.pop_front();
        }
    }

    fn charge(&mut self, share: Share, now: Duration, cost: u64) -> Counted {
        self.forget(now);
        let used = self.used();
        let (mut remaining, mut retry_after) = (share.quota.saturating_sub(used), Duration::ZERO);
        if cost > share.quota {
            retry_after = Duration::MAX;
        } else if cost > remaining {
            let mut freed = 0;
            let enough = self.0.iter().find(|(_, cost_of)| {
                freed += cost_of;
                freed + share.quota >= used + cost
            });
            retry_after = enough.map_or(share.window, |(end, _)| *end - now);
        } else {
            self.add(share, now, cost);
            remaining -= cost;
        }
        let reset_after = self.end().saturating_sub(now);
        Counted { allowed: retry_after.is_zero(), remaining, retry_after, reset_after }
    }

    /// Takes the newest cost out first; never more than is there.
    fn give_back(&mut self, mut cost: u64) {
        while let Some((_, held)) = self.0.back_mut() {
            let less = cost.min(*held);
            *held -= less;
            cost -= less;
            if *held > 0 {
                return;
            }
            self.0.pop_back();
        }
    }

    fn add(&mut self, share: Share, now: Duration, cost: u64) {
        let grain = match share.quota {
            ..=EXACT => 1,
            _ => share.window.as_nanos().div_ceil(PARTS).max(1),
        };
        // A slot counts whole until the last of it has left the window.
        let end = (now.as_nanos() / grain + 1) * grain - 1 + share.window.as_nanos();
        let end = Duration::from_nanos(u64::try_from(end).unwrap_or(u64::MAX));
        match self.0.back_mut() {
            Some((last, held)) if *last >= end => *held += cost,
            _ => self.0.push_back((end, cost)),
        }
    }
}

impl Local {
    pub(super) fn new() -> Self {
        Self::bounded(MAX_COUNTED)
    }

    fn bounded(max: usize) -> Self {
        Self { began: Instant::now(), max, held: Mutex::default() }
    }

    pub(super) fn charge(&self, limit: &str, subject: &str, share: Share, cost: u64) -> Counted {
        self.change(key(limit, subject), |window, now| window.charge(share, now, cost))
    }

    /// Notes what was admitted elsewhere, whatever the share is.
    pub(super) fn note(&self, limit: &str, subject: &str, share: Share, cost: u64) {
        self.change(key(limit, subject), |window, now| window.note(share, now, cost));
    }

    fn change<T>(&self, key: Arc<str>, change: impl FnOnce(&mut Window, Duration) -> T) -> T {
        let now = self.began.elapsed();
        let mut held = self.held.lock();
        let held = &mut *held;
        let mut window = held.windows.remove(&key).unwrap_or_default();
        held.ends.remove(&(window.end(), key.clone()));
        let changed = change(&mut window, now);
        while held.windows.len() >= self.max
            || held.ends.first().is_some_and(|(end, _)| *end <= now)
        {
            let Some((_, ended)) = held.ends.pop_first() else { break };
            held.windows.remove(&ended);
        }
        if !window.0.is_empty() {
            held.ends.insert((window.end(), key.clone()));
            held.windows.insert(key, window);
        }
        changed
    }

    /// Gives back what was charged of a limit and not forgotten since.
    pub(super) fn give_back(&self, limit: &str, subject: &str, cost: u64) {
        let key = key(limit, subject);
        let mut held = self.held.lock();
        let held = &mut *held;
        let Some(mut window) = held.windows.remove(&key) else { return };
        held.ends.remove(&(window.end(), key.clone()));
        window.give_back(cost);
        if !window.0.is_empty() {
            held.ends.insert((window.end(), key.clone()));
            held.windows.insert(key, window);
        }
    }
}

fn key(limit: &str, subject: &str) -> Arc<str> {
    format!("{limit}\0{subject}").into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Counted, Local, Share};

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_window_slides_and_denied_calls_are_free() {
        let local = Local::new();
        let share = Share { quota: 3, window: MINUTE };
        for remaining in [2, 1, 0] {
            assert_eq!(local.charge("api", "ann", share, 1).remaining, remaining);
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        for _ in 0..5 {
            let counted = local.charge("api", "ann", share, 1);
            let retry_after = Duration::from_secs(30);
            assert!(!counted.allowed);
            assert_eq!(counted.retry_after, retry_after);
        }
        assert!(local.charge("api", "bob", share, 1).allowed, "another subject");
        assert!(local.charge("other", "ann", share, 1).allowed, "another limit");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(local.charge("api", "ann", share, 1).allowed);
        assert!(!local.charge("api", "ann", share, 1).allowed);
        assert_eq!(local.charge("api", "ann", share, 4).retry_after, Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_is_free_again_and_never_more() {
        let local = Local::new();
        let share = Share { quota: 3, window: MINUTE };
        local.give_back("api", "ann", 1);
        for cost in [1, 2] {
            assert!(local.charge("api", "ann", share, cost).allowed);
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        local.give_back("api", "ann", 1);
        assert_eq!(local.charge("api", "ann", share, 1).remaining, 0);
        assert_eq!(
            local.charge("api", "ann", share, 1).retry_after,
            Duration::from_secs(40),
            "the newest is given back"
        );
        local.give_back("api", "ann", 9);
        assert_eq!(local.charge("api", "ann", share, 1).remaining, 2);
        assert_eq!(local.held.lock().ends.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_quota_takes_few_slots_and_is_never_exceeded() {
        let local = Local::new();
        let share = Share { quota: 1_000, window: MINUTE };
        let mut admitted = Vec::new();
        for step in 0..12_000_u32 {
            if local.charge("api", "ann", share, 1).allowed {
                admitted.push(step);
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let within = |end: u32| admitted.iter().filter(move |at| **at + 6_000 > end && **at <= end);
        assert!((0..12_000).all(|end| within(end).count() <= 1_000));
        assert!(admitted.len() >= 1_900, "{}", admitted.len());
        let held = local.held.lock();
        assert!(held.windows.values().all(|window| window.0.len() <= 66));
    }

    #[tokio::test(start_paused = true)]
    async fn subjects_are_bounded_and_those_that_end_first_go_first() {
        let local = Local::bounded(2);
        let share = Share { quota: 1, window: MINUTE };
        for subject in ["ann", "bob", "cid"] {
            assert!(local.charge("api", subject, share, 1).allowed);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let denied = |counted: Counted| !counted.allowed;
        assert!(denied(local.charge("api", "bob", share, 1)));
        assert!(denied(local.charge("api", "cid", share, 1)));
        assert_eq!(local.held.lock().windows.len(), 2);
        assert!(local.charge("api", "ann", share, 1).allowed, "ann was forgotten");
        tokio::time::advance(MINUTE * 2).await;
        assert!(local.charge("api", "eve", share, 1).allowed);
        assert_eq!(local.held.lock().windows.len(), 1, "the ended are gone");
    }
}
