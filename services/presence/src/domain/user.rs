//! The sessions of one user, whatever store keeps them.

use super::{Claim, Ended, Held, Holder, Lost, Phase, Shown, Status, Terms, Verdict, claim, shown};

/// What became of a claim.
pub(crate) enum Claimed {
    Taken(Option<Lost>),
    Same,
    Held(u64),
    TooMany,
    Full,
}

impl Claimed {
    /// True when the answer to it cannot say that the status changed.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Self::Held(_) | Self::TooMany | Self::Full)
    }
}

/// What a claim that takes a session must find.
#[derive(Clone, Copy)]
pub(crate) struct Room<'a> {
    /// The limit per user; `None` for sockets that are there already.
    pub(crate) terms: Option<&'a Terms>,
    /// The store takes no new session.
    pub(crate) is_full: bool,
}

/// One user.
pub(crate) struct User<H: Holder> {
    pub(crate) sessions: Vec<Held<H>>,
    /// The last proof of life of sessions that were dropped.
    pub(crate) seen_at: Option<i64>,
    /// What was announced last.
    pub(crate) told: Option<Status>,
}

/// What a call did to a user.
pub(crate) struct Change<T> {
    /// What it answers.
    pub(crate) answer: T,
    /// True when the answer carries that the status changed. A refusal does
    /// not: the change waits for the sweep.
    pub(crate) tells: bool,
}

impl<T> Change<T> {
    /// An answer that says whether the status changed.
    pub(crate) fn telling(answer: T) -> Self {
        Self { answer, tells: true }
    }
}

/// How a user stands after a change.
pub(crate) struct Settled<T> {
    /// What the call answers.
    pub(crate) answer: T,
    /// True when this answer must carry that the status changed.
    pub(crate) changed: bool,
    /// True when the status changed and the answer cannot carry it.
    pub(crate) owes: bool,
    /// What the user shows.
    pub(crate) shown: Shown,
    /// When to look at the user again.
    pub(crate) look_at: Option<i64>,
}

impl<H: Holder> User<H> {
    pub(crate) const fn new() -> Self {
        Self { sessions: Vec::new(), seen_at: None, told: None }
    }

    /// Applies `change` without the sessions that are gone, then settles what
    /// was announced.
    pub(crate) fn apply<T>(
        &mut self,
        now: i64,
        terms: &Terms,
        change: impl FnOnce(&mut Self) -> Change<T>,
    ) -> Settled<T> {
        self.drop_gone(now, terms);
        let Change { answer, tells } = change(self);
        self.bound_ended(2 * terms.max_sessions_per_user, now, terms);
        let shown = self.shown(now, terms);
        let differs = self.told != shown.status;
        if tells {
            self.told = shown.status;
        }
        let owes = differs && !tells;
        let look_at = if owes { Some(now) } else { shown.next_at };
        Settled { answer, changed: differs && tells, owes, shown, look_at }
    }

    /// True when nothing of the user needs to be kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.told.is_none()
    }

    /// Sessions, live or in grace.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn shown(&self, now: i64, terms: &Terms) -> Shown {
        let mut shown = shown(self.sessions.iter().map(Held::life), now, terms);
        shown.last_seen = shown.last_seen.max(self.seen_at);
        shown
    }

    /// When to look at the user: the earliest end of a grace that runs, or now
    /// when one is over already.
    pub(crate) fn due_at(&self, now: i64, terms: &Terms) -> Option<i64> {
        let lives = self.sessions.iter().map(Held::life);
        let ended = lives.filter(|life| life.phase(now, terms) != Phase::Live);
        ended.map(|life| life.gone_at(terms)).min()
    }

    /// Drops the sessions that are gone.
    fn drop_gone(&mut self, now: i64, terms: &Terms) {
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
    pub(crate) fn claim(&mut self, offer: Claim, holder: H, now: i64, room: Room<'_>) -> Claimed {
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
        holder: H,
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
    fn bound_ended(&mut self, max: usize, now: i64, terms: &Terms) {
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

    /// Starts the grace of a session held by the socket that `ended`.
    pub(crate) fn close(&mut self, session_id: &str, ended: Ended<'_>, now: i64) {
        let found = self.position(session_id).map(|at| &mut self.sessions[at]);
        if let Some(held) = found.filter(|held| ended.held(held.generation, held.connection_id())) {
            held.close(now);
        }
    }

    /// False when there is no such session.
    pub(crate) fn set_status(&mut self, session_id: &str, status: Status) -> bool {
        let found = self.position(session_id).map(|at| &mut self.sessions[at]);
        found.map(|held| held.status = status).is_some()
    }

    fn position(&self, session_id: &str) -> Option<usize> {
        self.sessions.iter().position(|held| held.session_id() == session_id)
    }
}
