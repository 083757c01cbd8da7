//! What one Watch stream follows and still has to tell; no I/O.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use mingle_proto::presence::v1;

use crate::domain::{Invalid, Presence, Status, Why};

/// Lost sessions that wait to be told; beyond, the stream has a gap.
const MAX_LOST: usize = 1024;

/// What makes two states of a user the same to a watcher: whether anybody can
/// tell, the status, and for whoever is offline since when.
type Told = (bool, Option<Status>, Option<i64>);

#[derive(Default)]
struct User {
    told: Option<Told>,
    /// Its place in the queue.
    queued: Option<u64>,
}

/// The users followed and what waits to be told.
///
/// **Shape**: a user waits at most once, however often they change, so that
/// what waits is bounded by who is followed.
pub(super) struct Followed {
    users: HashMap<Arc<str>, User>,
    queue: BTreeMap<u64, Arc<str>>,
    next_place: u64,
    /// Those of whom nothing could be told.
    deferred: HashSet<Arc<str>>,
    lost: VecDeque<v1::Superseded>,
    gap: bool,
    max_users: usize,
}

/// What to tell next.
pub(super) enum Next {
    /// Changes may have been missed.
    Gap,
    /// A socket lost its session.
    Lost(v1::Superseded),
    /// Read these users and tell their states.
    Users(Vec<String>),
}

impl Followed {
    pub(super) fn new(max_users: usize) -> Self {
        Self {
            users: HashMap::new(),
            queue: BTreeMap::new(),
            next_place: 0,
            deferred: HashSet::new(),
            lost: VecDeque::new(),
            gap: false,
            max_users,
        }
    }

    /// Follows `user_id`, whose state is told next, also when it was followed
    /// already.
    pub(super) fn add(&mut self, user_id: &str) -> Result<(), Invalid> {
        if !self.users.contains_key(user_id) {
            if self.users.len() >= self.max_users {
                let rule = format!("exceeds the {} users a stream may follow", self.max_users);
                return Err(Invalid::new("add.user_ids", Why::TooLong, rule));
            }
            self.users.insert(user_id.into(), User::default());
        }
        if let Some(user) = self.users.get_mut(user_id) {
            user.told = None;
        }
        self.changed(user_id);
        Ok(())
    }

    pub(super) fn remove(&mut self, user_id: &str) {
        self.deferred.remove(user_id);
        if let Some(place) = self.users.remove(user_id).and_then(|user| user.queued) {
            self.queue.remove(&place);
        }
    }

    /// `user_id` may have changed.
    pub(super) fn changed(&mut self, user_id: &str) {
        let Some((name, _)) = self.users.get_key_value(user_id) else {
            return;
        };
        let name = name.clone();
        if let Some(user) = self.users.get_mut(user_id)
            && user.queued.is_none()
        {
            user.queued = Some(self.next_place);
            self.queue.insert(self.next_place, name);
            self.next_place += 1;
        }
    }

    /// A socket of the followed node lost its session.
    pub(super) fn lose(&mut self, lost: v1::Superseded) {
        if self.lost.len() >= MAX_LOST {
            self.missed();
        } else {
            self.lost.push_back(lost);
        }
    }

    /// Something was missed: everything is told again.
    pub(super) fn missed(&mut self) {
        self.gap = true;
        let all: Vec<_> = self.users.keys().cloned().collect();
        for user_id in all {
            self.changed(&user_id);
            if let Some(user) = self.users.get_mut(&user_id) {
                user.told = None;
            }
        }
    }

    /// Nothing can be told of `user_id` now; what was told of them stands.
    pub(super) fn defer(&mut self, user_id: &str) {
        if let Some((name, _)) = self.users.get_key_value(user_id) {
            self.deferred.insert(name.clone());
        }
    }

    pub(super) fn is_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Those who were deferred are to be read again.
    pub(super) fn resume(&mut self) {
        let deferred = std::mem::take(&mut self.deferred);
        deferred.iter().for_each(|user_id| self.changed(user_id));
    }

    pub(super) fn is_pending(&self) -> bool {
        self.gap || !self.lost.is_empty() || !self.queue.is_empty()
    }

    /// What to tell next, at most `max` users of it.
    pub(super) fn next(&mut self, max: usize) -> Option<Next> {
        if std::mem::take(&mut self.gap) {
            return Some(Next::Gap);
        }
        if let Some(lost) = self.lost.pop_front() {
            return Some(Next::Lost(lost));
        }
        let mut users = Vec::new();
        while users.len() < max
            && let Some((_, user_id)) = self.queue.pop_first()
        {
            if let Some(user) = self.users.get_mut(&user_id) {
                user.queued = None;
            }
            users.push(user_id.to_string());
        }
        (!users.is_empty()).then_some(Next::Users(users))
    }

    /// True when `presence` is news to the watcher, who is then told.
    pub(super) fn is_news(&mut self, presence: &Presence) -> bool {
        let Some(user) = self.users.get_mut(presence.user_id.as_str()) else {
            return false;
        };
        let offline_since = presence.last_seen.filter(|_| presence.status.is_none());
        let state = Some((presence.unknown, presence.status, offline_since));
        let news = user.told != state;
        user.told = state;
        news
    }
}
