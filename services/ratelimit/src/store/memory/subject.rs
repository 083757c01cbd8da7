//! What one subject used.

use std::{collections::VecDeque, sync::Arc};

use crate::domain::{Answer, Ask, Limit, Limits, Mark, Standing, State, Verdict};

#[derive(Default)]
pub(super) struct Subject {
    counts: Vec<(Arc<str>, State)>,
    /// Oldest first.
    charges: VecDeque<Charge>,
}

struct Charge {
    id: Box<str>,
    content: Box<str>,
    /// By limit, with the cost that it counts; those that shadow and denied
    /// were not charged.
    marks: Box<[(Arc<str>, Mark, u64)]>,
    until_us: u64,
    /// It was found made already.
    repeated: bool,
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
        self.counts.iter().find(|(name, _)| *name == limit.name).map(|(_, state)| state)
    }

    /// What each limit says now.
    pub(super) fn judge(&self, ask: &Ask, now_us: u64, cost: u64) -> Vec<Standing> {
        let judge = |limit: &Arc<Limit>| limit.judge(self.state(limit), now_us, cost);
        ask.limits.iter().map(judge).collect()
    }

    pub(super) fn check(&mut self, ask: &Ask, memo: Memo) -> Answer {
        let known = self.charges.iter_mut().rev().find(|charge| *charge.id == *ask.charge_id);
        if let Some(charge) = known.filter(|charge| charge.until_us > memo.now_us) {
            return if *charge.content == *ask.content() {
                charge.repeated = true;
                let standings = self.judge(ask, memo.now_us, 0);
                Answer::new(Verdict::Repeated, standings)
            } else {
                Answer::new(Verdict::Reused, Vec::new())
            };
        }
        let mut standings = self.judge(ask, memo.now_us, ask.cost);
        let verdict = ask.verdict(&standings);
        if verdict == Verdict::Allowed {
            let costs: Vec<u64> = standings.iter().map(|it| paid(it.allowed, ask.cost)).collect();
            self.charge(ask, memo, (&costs, &mut standings));
        }
        Answer::new(verdict, standings)
    }

    /// Takes note that a charge was found made already; false when it is not
    /// known here.
    pub(super) fn mark_repeated(&mut self, ask: &Ask, memo: Memo) -> bool {
        let known = self.charges.iter_mut().rev().find(|charge| *charge.id == *ask.charge_id);
        let known = known.filter(|charge| charge.until_us > memo.now_us);
        known.map(|charge| charge.repeated = true).is_some()
    }

    /// Takes note of what was charged elsewhere. A limit that has less left
    /// than that is used up.
    pub(super) fn note(&mut self, ask: &Ask, memo: Memo) {
        if self.mark_repeated(ask, memo) {
            return;
        }
        let mut standings = self.judge(ask, memo.now_us, 0);
        let costs: Vec<u64> = standings.iter().map(|it| ask.cost.min(it.remaining)).collect();
        self.charge(ask, memo, (&costs, &mut standings));
    }

    /// Charges each limit its cost; 0: none.
    fn charge(&mut self, ask: &Ask, memo: Memo, (costs, standings): (&[u64], &mut [Standing])) {
        let mut marks = Vec::with_capacity(ask.limits.len());
        for ((limit, standing), &cost) in ask.limits.iter().zip(standings).zip(costs) {
            if cost == 0 {
                continue;
            }
            let at = self.counts.iter().position(|(name, _)| *name == limit.name);
            let state = at.map(|at| self.counts.swap_remove(at).1);
            let (state, mark) = limit.charge(state, memo.now_us, cost);
            *standing = limit.judge(Some(&state), memo.now_us, 0);
            self.counts.push((limit.name.clone(), state));
            marks.push((limit.name.clone(), mark, cost));
        }
        self.charges.retain(|charge| charge.until_us > memo.now_us);
        if self.charges.len() >= memo.max_charges {
            self.charges.pop_front();
        }
        self.charges.push_back(Charge {
            id: ask.charge_id.as_str().into(),
            content: ask.content().into(),
            marks: marks.into(),
            until_us: memo.now_us + ask.remembered_us(memo.remember_us),
            repeated: false,
        });
    }

    /// `unless_repeated`: not of a charge that was found made already.
    pub(super) fn refund(
        &mut self,
        (charge_id, unless_repeated): (&str, bool),
        limits: &Limits,
        now_us: u64,
    ) -> Back {
        let lives = |charge: &Charge| *charge.id == *charge_id && charge.until_us > now_us;
        let Some(at) = self.charges.iter().rposition(lives) else { return Back::Nothing };
        if unless_repeated && self.charges[at].repeated {
            return Back::Kept;
        }
        let Some(charge) = self.charges.remove(at) else { return Back::Nothing };
        let mut given = false;
        for (name, mark, cost) in &charge.marks {
            let state = self.counts.iter_mut().find(|(of, _)| of == name);
            if let (Some((_, state)), Some(limit)) = (state, limits.get(&**name)) {
                given |= limit.refund(state, now_us, *cost, *mark);
            }
        }
        if given { Back::Given } else { Back::Nothing }
    }

    /// Makes it as if it had used nothing of these limits.
    pub(super) fn reset(&mut self, limits: &[Arc<Limit>], now_us: u64) {
        for (name, state) in &mut self.counts {
            let limit = limits.iter().find(|limit| limit.name == *name);
            if let Some(limit) = limit.filter(|limit| limit.ends_us(state) > now_us) {
                limit.reset(state, now_us);
            }
        }
    }

    /// Forgets what is as if unused; when the rest will be, 0 if there is none.
    pub(super) fn tidy(&mut self, limits: &Limits, now_us: u64) -> u64 {
        let ends_us =
            |name: &str, state: &State| limits.get(name).map_or(0, |limit| limit.ends_us(state));
        self.counts.retain(|(name, state)| ends_us(name, state) > now_us);
        self.charges.retain(|charge| charge.until_us > now_us);
        let counts = self.counts.iter().map(|(name, state)| ends_us(name, state));
        let charges = self.charges.iter().map(|charge| charge.until_us);
        counts.chain(charges).max().unwrap_or(0)
    }
}

fn paid(allowed: bool, cost: u64) -> u64 {
    if allowed { cost } else { 0 }
}
