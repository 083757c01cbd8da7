//! When users who are offline were last seen.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Remembers a bounded number of users; beyond it, those recorded longest ago
/// are forgotten.
pub(super) struct Seen {
    at: HashMap<Arc<str>, i64>,
    /// Oldest first. Holds also what was recorded anew since: such an entry
    /// differs from the map's.
    order: VecDeque<(Arc<str>, i64)>,
    max: usize,
}

impl Seen {
    pub(super) fn new(max: usize) -> Self {
        Self { at: HashMap::new(), order: VecDeque::new(), max }
    }

    pub(super) fn get(&self, user_id: &str) -> Option<i64> {
        self.at.get(user_id).copied()
    }

    pub(super) fn record(&mut self, user_id: &str, at: i64) {
        let known = self.at.get_key_value(user_id).map(|(user, at)| (user.clone(), *at));
        if known.as_ref().is_some_and(|(_, known)| *known >= at) {
            return;
        }
        let user = known.map_or_else(|| Arc::from(user_id), |(user, _)| user);
        self.at.insert(user.clone(), at);
        self.order.push_back((user, at));
        while self.at.len() > self.max
            && let Some((user, at)) = self.order.pop_front()
        {
            if self.at.get(&user) == Some(&at) {
                self.at.remove(&user);
            }
        }
        if self.order.len() > self.max.saturating_mul(2) {
            let current = &self.at;
            self.order.retain(|(user, at)| current.get(user) == Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn the_oldest_is_forgotten_and_the_order_stays_bounded() {
        let mut seen = Seen::new(3);
        for (at, user) in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "d")] {
            seen.record(user, at);
        }
        assert_eq!(seen.get("b"), None);
        assert_eq!((seen.get("a"), seen.get("c"), seen.get("d")), (Some(4), Some(3), Some(5)));
        for at in 10..1000 {
            seen.record("a", at);
        }
        assert!(seen.order.len() <= 6, "{}", seen.order.len());
        assert_eq!((seen.get("a"), seen.get("c"), seen.get("d")), (Some(999), Some(3), Some(5)));
    }
}
