//! Users to look at when time has passed.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Who is to be looked at when, and how far the walk over all users has come.
///
/// Entries are hints: whoever is looked at too early or in vain is not harmed.
/// Each user has one entry that counts (`User::look_at`), and one more only
/// when a look was moved forward.
#[derive(Default)]
pub(super) struct Due {
    heap: BinaryHeap<Reverse<(i64, Box<str>)>>,
    walk: Option<usize>,
    walk_again: bool,
}

impl Due {
    /// Look at `user_id` at `at`.
    pub(super) fn push(&mut self, at: i64, user_id: &str) {
        self.heap.push(Reverse((at, user_id.into())));
    }

    /// Those due, the most urgent first, at most `max`.
    pub(super) fn pop(&mut self, now: i64, max: usize) -> Vec<(i64, Box<str>)> {
        let mut due = Vec::new();
        while due.len() < max
            && self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now)
            && let Some(Reverse(entry)) = self.heap.pop()
        {
            due.push(entry);
        }
        due
    }

    /// Walk over all users: from now on, or again when a walk has begun, which
    /// may have passed those concerned.
    pub(super) fn walk(&mut self) {
        if self.walk.is_some() {
            self.walk_again = true;
        } else {
            self.walk = Some(0);
        }
    }

    /// The next shard of the walk, of `shards`.
    pub(super) fn step(&mut self, shards: usize) -> Option<usize> {
        let at = self.walk?;
        self.walk = match at + 1 {
            next if next < shards => Some(next),
            _ if std::mem::take(&mut self.walk_again) => Some(0),
            _ => None,
        };
        Some(at)
    }
}
