//! What one subject used.

use std::{collections::VecDeque, sync::Arc};

use crate::domain::{Answer, Ask, Charged, Limit, Mark, Standing, State, Verdict};

#[derive(Default)]
pub(super) struct Subject {
    /// With the limit that each was counted by last.
    counts: Vec<(Arc<Limit>, State)>,
    /// Oldest first.
    charges: VecDeque<Charge>,
}

struct Charge {
    id: Box<str>,
    cost: u64,
    /// One for each limit, as they were asked.
    parts: Box<[Part]>,
    until_us: u64,
    /// It was found made already.
    repeated: bool,
    is_lease: bool,
}

struct Part {
    limit: Arc<str>,
    /// With the cost that it counts; none of a limit that shadows and denied.
    counted: Option<(Mark, u64)>,
}

impl Charge {
    fn is_of(&self, ask: &Ask) -> bool {
        let asked = ask.limits.iter().map(|limit| &limit.name);
        self.cost == ask.cost && self.parts.iter().map(|part| &part.limit).eq(asked)
    }

    fn counted(&self) -> impl Iterator<Item = (&Arc<str>, (Mark, u64))> {
        self.parts.iter().filter_map(|part| Some((&part.limit, part.counted?)))
    }
}

/// What became of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// Something was given back.
    Given,
    /// Another attempt relies on the charge.
    Kept,
    /// There was nothing to give back.
    Nothing,
}

/// How charges are remembered.
#[derive(Clone, Copy)]
pub(super) struct Memo {
    pub(super) now_us: u64,
    pub(super) remember_us: u64,
    pub(super) max_charges: usize,
}

impl Subject {
    fn state(&self, limit: &Limit) -> Option<&State> {
        self.counts.iter().find(|(of, _)| of.name == limit.name).map(|(_, state)| state)
    }

    /// What each limit says now.
    pub(super) fn judge(&self, ask: &Ask, now_us: u64, cost: u64) -> Vec<Standing> {
        let judge = |limit: &Arc<Limit>| limit.judge(self.state(limit), now_us, cost);
        ask.limits.iter().map(judge).collect()
    }

    pub(super) fn check(&mut self, ask: &Ask, memo: Memo) -> Answer {
        if let Some(at) = self.known(&ask.charge_id, memo.now_us) {
            let charge = &mut self.charges[at];
            if !charge.is_of(ask) {
                return Answer::new(Verdict::Reused, Vec::new());
            }
            if ask.is_lease() {
                return self.renew(ask, memo, at);
            }
            charge.repeated = true;
            let standings = self.judge(ask, memo.now_us, 0);
            return Answer::new(Verdict::Repeated, standings);
        }
        self.take(ask, memo)
    }

    fn take(&mut self, ask: &Ask, memo: Memo) -> Answer {
        let mut standings = self.judge(ask, memo.now_us, ask.cost);
        let verdict = ask.verdict(&standings);
        if verdict == Verdict::Allowed {
            let costs: Vec<u64> = standings.iter().map(|it| paid(it.allowed, ask.cost)).collect();
            self.charge(ask, memo, (&costs, &mut standings));
        }
        Answer::new(verdict, standings)
    }

    /// Gives a lease back and takes it anew, or changes nothing.
    fn renew(&mut self, ask: &Ask, memo: Memo, at: usize) -> Answer {
        let before = self.counts.clone();
        let Some(charge) = self.charges.remove(at) else { return self.take(ask, memo) };
        let held = self.give_back(&charge, memo.now_us);
        let mut answer = self.take(ask, memo);
        if answer.verdict == Verdict::Denied {
            self.counts = before;
            self.charges.insert(at, charge);
        } else {
            if held == charge.counted().count() {
                answer.verdict = Verdict::Repeated;
            }
            self.mark_repeated(ask, memo);
        }
        answer
    }

    /// Where a charge is that is remembered.
    fn known(&self, charge_id: &str, now_us: u64) -> Option<usize> {
        let lives = |charge: &Charge| *charge.id == *charge_id && charge.until_us > now_us;
        self.charges.iter().rposition(lives)
    }

    /// Takes note that a charge was found made already; false when it is not
    /// known here.
    pub(super) fn mark_repeated(&mut self, ask: &Ask, memo: Memo) -> bool {
        let known = self.known(&ask.charge_id, memo.now_us);
        known.map(|at| self.charges[at].repeated = true).is_some()
    }

    /// Takes note of what was charged elsewhere, and of a lease that was renewed
    /// there. A limit that has less left than that is used up.
    pub(super) fn note(&mut self, ask: &Ask, memo: Memo) {
        let mut renews = false;
        if ask.is_lease() {
            let known = self.known(&ask.charge_id, memo.now_us);
            if let Some(charge) = known.and_then(|at| self.charges.remove(at)) {
                self.give_back(&charge, memo.now_us);
                renews = true;
            }
        } else if self.mark_repeated(ask, memo) {
            return;
        }
        let mut standings = self.judge(ask, memo.now_us, 0);
        let costs: Vec<u64> = standings.iter().map(|it| ask.cost.min(it.remaining)).collect();
        self.charge(ask, memo, (&costs, &mut standings));
        if renews {
            self.mark_repeated(ask, memo);
        }
    }

    /// Charges each limit its cost; 0: none.
    fn charge(&mut self, ask: &Ask, memo: Memo, (costs, standings): (&[u64], &mut [Standing])) {
        // Most are charged once.
        if self.counts.is_empty() {
            self.counts.reserve_exact(ask.limits.len());
        }
        let is_remembered = !ask.charge_id.is_empty();
        let mut parts = Vec::with_capacity(if is_remembered { ask.limits.len() } else { 0 });
        let mut part = |limit: &Limit, counted| {
            if is_remembered {
                parts.push(Part { limit: limit.name.clone(), counted });
            }
        };
        for ((limit, standing), &cost) in ask.limits.iter().zip(standings).zip(costs) {
            if cost == 0 {
                part(limit, None);
                continue;
            }
            let at = self.counts.iter().position(|(of, _)| of.name == limit.name);
            let state = at.map(|at| self.counts.swap_remove(at).1);
            let (state, mark) = limit.charge(state, memo.now_us, cost);
            *standing = limit.judge(Some(&state), memo.now_us, 0);
            self.counts.push((limit.clone(), state));
            part(limit, Some((mark, cost)));
        }
        self.charges.retain(|charge| charge.until_us > memo.now_us);
        if is_remembered {
            self.remember(ask, parts, memo);
        }
    }

    fn remember(&mut self, ask: &Ask, parts: Vec<Part>, memo: Memo) {
        // What is held is bounded by its quota, and is not forgotten.
        let is_lease = ask.is_lease();
        let others = self.charges.iter().filter(|charge| !charge.is_lease).count();
        if !is_lease && others >= memo.max_charges {
            let oldest = self.charges.iter().position(|charge| !charge.is_lease);
            oldest.and_then(|at| self.charges.remove(at));
        }
        // Most are charged once.
        if self.charges.is_empty() {
            self.charges.reserve_exact(1);
        }
        self.charges.push_back(Charge {
            id: ask.charge_id.as_str().into(),
            cost: ask.cost,
            parts: parts.into(),
            until_us: memo.now_us + ask.remembered_us(memo.remember_us),
            repeated: false,
            is_lease,
        });
    }

    pub(super) fn refund(&mut self, of: Charged<'_>, now_us: u64) -> Back {
        let Some(at) = self.known(of.charge_id, now_us) else { return Back::Nothing };
        if of.unless_repeated && self.charges[at].repeated {
            return Back::Kept;
        }
        let Some(charge) = self.charges.remove(at) else { return Back::Nothing };
        let given = self.give_back(&charge, now_us);
        if given > 0 { Back::Given } else { Back::Nothing }
    }

    /// How many limits still held something of a charge.
    fn give_back(&mut self, charge: &Charge, now_us: u64) -> usize {
        let mut given = 0;
        for (name, (mark, cost)) in charge.counted() {
            if let Some((limit, state)) = self.counts.iter_mut().find(|(of, _)| of.name == *name) {
                given += usize::from(limit.refund(state, now_us, cost, mark));
            }
        }
        given
    }

    /// Makes it as if it had used nothing of these limits.
    pub(super) fn reset(&mut self, limits: &[Arc<Limit>], now_us: u64) {
        for (limit, state) in &mut self.counts {
            let is_meant = limits.iter().any(|it| it.name == limit.name);
            if is_meant && limit.ends_us(state) > now_us {
                limit.reset(state, now_us);
            }
        }
    }

    /// Forgets what is as if unused; when the rest will be, 0 if there is none.
    pub(super) fn tidy(&mut self, now_us: u64) -> u64 {
        self.counts.retain(|(limit, state)| limit.ends_us(state) > now_us);
        self.charges.retain(|charge| charge.until_us > now_us);
        let counts = self.counts.iter().map(|(limit, state)| limit.ends_us(state));
        let charges = self.charges.iter().map(|charge| charge.until_us);
        counts.chain(charges).max().unwrap_or(0)
    }
}

fn paid(allowed: bool, cost: u64) -> u64 {
    if allowed { cost } else { 0 }
}
