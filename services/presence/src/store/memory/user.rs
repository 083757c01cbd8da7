//! The sessions of one user.

use std::sync::Arc;

use super::nodes::Incarnation;
use crate::domain::{Claim, Life, Lost, Phase, Shown, Status, Terms, Verdict, claim, shown};

/// Stands for "not closed" and "no look planned".
const NEVER: i64 = i64::MAX;

/// A session and who holds it.
struct Held {
    /// The session id, then the connection id: one allocation for both.
    ids: Box<str>,
    /// Where the connection id begins.
    split: u32,
    generation: u64,
    holder: Arc<Incarnation>,
    connected_at: i64,
    closed_at: i64,
    status: Status,
}

impl Held {
    fn new(claim: Claim, holder: Arc<Incarnation>, now: i64) -> Self {
        holder.count(1);
        let split = claim.session_id.len();
        let mut ids = claim.session_id;
        ids.push_str(&claim.connection_id);
        Self {
            ids: ids.into(),
            split: u32::try_from(split).unwrap_or(u32::MAX),
            generation: claim.generation,
            holder,
            connected_at: now,
            closed_at: NEVER,
            status: claim.status.unwrap_or(Status::Online),
        }
    }

    fn session_id(&self) -> &str {
        &self.ids[..self.split as usize]
    }

    fn connection_id(&self) -> &str {
        &self.ids[self.split as usize..]
    }

    fn is_open(&self) -> bool {
        self.closed_at == NEVER
    }

    fn life(&self) -> Life {
        Life {
            lease: self.holder.lease(),
            connected_at: self.connected_at,
            closed_at: (!self.is_open()).then_some(self.closed_at),
            status: self.status,
        }
    }

    fn close(&mut self, now: i64) {
        if self.is_open() {
            self.closed_at = now;
            self.holder.count(-1);
        }
    }

    /// The same socket, on the present start of its node.
    fn move_to(&mut self, holder: Arc<Incarnation>) {
        if self.is_open() && !Arc::ptr_eq(&self.holder, &holder) {
            holder.count(1);
            self.holder.count(-1);
            self.holder = holder;
        }
    }

    fn lost(&self) -> Lost {
        Lost {
            node_id: self.holder.node_id.to_string(),
            session_id: self.session_id().to_owned(),
            generation: self.generation,
            connection_id: self.connection_id().to_owned(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_open() {
            self.holder.count(-1);
        }
    }
}

/// What became of a claim.
pub(super) enum Claimed {
    Taken(Option<Lost>),
    Same,
    Held(u64),
    TooMany,
    Full,
}

/// What a claim that takes a session must find.
#[derive(Clone, Copy)]
pub(super) struct Room<'a> {
    /// The limit per user; `None` for sockets that are there already.
    pub(super) terms: Option<&'a Terms>,
    /// The store takes no new session.
    pub(super) is_full: bool,
}

/// One user.
pub(super) struct User {
    sessions: Vec<Held>,
    /// The last proof of life of sessions that were dropped.
    seen_at: Option<i64>,
    /// What was announced last.
    pub(super) told: Option<Status>,
    /// The entry of the due queue that counts.
    look_at: i64,
}

impl User {
    pub(super) const fn new() -> Self {
        Self { sessions: Vec::new(), seen_at: None, told: None, look_at: NEVER }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn shown(&self, now: i64, terms: &Terms) -> Shown {
        let mut shown = shown(self.sessions.iter().map(Held::life), now, terms);
        shown.last_seen = shown.last_seen.max(self.seen_at);
        shown
    }

    /// When to look at the user: the earliest end of a grace that runs, or now
    /// when one is over already.
    pub(super) fn due_at(&self, now: i64, terms: &Terms) -> Option<i64> {
        let lives = self.sessions.iter().map(Held::life);
        let ended = lives.filter(|life| life.phase(now, terms) != Phase::Live);
        ended.map(|life| life.gone_at(terms)).min()
    }

    /// Drops the sessions that are gone.
    pub(super) fn drop_gone(&mut self, now: i64, terms: &Terms) {
        let Self { sessions, seen_at, .. } = self;
        sessions.retain(|held| {
            let life = held.life();
            let gone = life.phase(now, terms) == Phase::Gone;
            if gone {
                *seen_at = (*seen_at).max(Some(life.seen_at()));
            }
            !gone
        });
    }

    /// Decides a claim. Sessions that are gone must have been dropped.
    pub(super) fn claim(
        &mut self,
        offer: Claim,
        holder: Arc<Incarnation>,
        now: i64,
        room: Room<'_>,
    ) -> Claimed {
        let found = self.position(&offer.session_id);
        let held = found.map(|at| &self.sessions[at]);
        let stored = held.map(|held| (held.generation, held.connection_id()));
        match claim(stored, offer.generation, &offer.connection_id) {
            Verdict::Held => Claimed::Held(stored.map_or(0, |(generation, _)| generation)),
            Verdict::Same => {
                if let Some(at) = found {
                    self.sessions[at].move_to(holder);
                }
                Claimed::Same
            }
            Verdict::Take if room.is_full && found.is_none() => Claimed::Full,
            Verdict::Take if room.terms.is_some_and(|terms| self.is_full(found, now, terms)) => {
                Claimed::TooMany
            }
            Verdict::Take => Claimed::Taken(self.store(found, offer, holder, now)),
        }
    }

    /// True when as many other sessions are live as allowed.
    fn is_full(&self, except: Option<usize>, now: i64, terms: &Terms) -> bool {
        let others = self.sessions.iter().enumerate().filter(|(at, _)| Some(*at) != except);
        let live = others.filter(|(_, held)| held.life().phase(now, terms) == Phase::Live);
        live.count() >= terms.max_sessions_per_user
    }

    fn store(
        &mut self,
        found: Option<usize>,
        mut offer: Claim,
        holder: Arc<Incarnation>,
        now: i64,
    ) -> Option<Lost> {
        let Some(at) = found else {
            // Most users have one session: no spare room.
            self.sessions.reserve_exact(1);
            self.sessions.push(Held::new(offer, holder, now));
            return None;
        };
        let old = &mut self.sessions[at];
        offer.status = offer.status.or(Some(old.status));
        let other = old.connection_id() != offer.connection_id;
        let lost = (old.is_open() && other).then(|| old.lost());
        *old = Held::new(offer, holder, now);
        lost
    }

    /// Forgets the sessions that ended first, when more than `max` ended ones
    /// wait for their grace.
    pub(super) fn bound_ended(&mut self, max: usize, now: i64, terms: &Terms) {
        while self.sessions.len() > max {
            let ends = self.sessions.iter().map(|held| held.life().ends_at(terms)).enumerate();
            let Some((at, _)) = ends.filter(|(_, end)| *end <= now).min_by_key(|(_, end)| *end)
            else {
                return;
            };
            let dropped = self.sessions.swap_remove(at);
            self.seen_at = self.seen_at.max(Some(dropped.life().seen_at()));
        }
    }

    /// Starts the grace of a session held in exactly `generation`.
    pub(super) fn close(&mut self, session_id: &str, generation: u64, now: i64) {
        let found = self.position(session_id).map(|at| &mut self.sessions[at]);
        if let Some(held) = found.filter(|held| held.generation == generation) {
            held.close(now);
        }
    }

    /// False when there is no such session.
    pub(super) fn set_status(&mut self, session_id: &str, status: Status) -> bool {
        let found = self.position(session_id).map(|at| &mut self.sessions[at]);
        found.map(|held| held.status = status).is_some()
    }

    /// Plans a look at `at`; false when an earlier one is planned.
    pub(super) fn plan(&mut self, at: i64) -> bool {
        let sooner = at < self.look_at;
        if sooner {
            self.look_at = at;
        }
        sooner
    }

    /// True when the look planned at `at` is the one that counts.
    pub(super) fn looked(&mut self, at: i64) -> bool {
        let counts = self.look_at == at;
        if counts {
            self.look_at = NEVER;
        }
        counts
    }

    fn position(&self, session_id: &str) -> Option<usize> {
        self.sessions.iter().position(|held| held.session_id() == session_id)
    }
}
