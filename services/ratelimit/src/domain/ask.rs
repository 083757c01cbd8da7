//! What is asked of a store, and its answer.

use std::{fmt::Write as _, sync::Arc};

use super::limit::{Algorithm, Limit, Standing};

/// One subject, and the limits that it is charged against.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who is counted.
    pub subject: String,
    /// Tells this charge from others of the subject. Empty: it is not remembered, and
    /// so neither repeated nor given back, and may be taken out of a slice.
    pub charge_id: String,
    /// True: nobody asked with this id before, and it was charged nowhere.
    pub is_new: bool,
    /// 0: nothing is charged, whatever is asked.
    pub cost: u64,
    /// At least one, none twice.
    pub limits: Vec<Arc<Limit>>,
}

/// Of the largest quota.
const DIGITS: usize = 10;

impl Ask {
    /// What is charged, as text: cost and limits. The same id with another
    /// text is another charge.
    pub fn content(&self) -> String {
        let names = self.limits.iter().map(|limit| limit.name.len() + 1);
        let mut content = String::with_capacity(names.sum::<usize>() + DIGITS);
        // A String takes whatever is written.
        let _ = write!(content, "{}", self.cost);
        for limit in &self.limits {
            content.push(' ');
            content.push_str(&limit.name);
        }
        content
    }

    /// True when it is asked about these limits, as they are.
    pub fn is_of(&self, limits: &[Arc<Limit>]) -> bool {
        let is_same =
            |(one, other): (&Arc<Limit>, &Arc<Limit>)| Arc::ptr_eq(one, other) || one == other;
        self.limits.len() == limits.len() && self.limits.iter().zip(limits).all(is_same)
    }

    /// True of a lease: asked for again it is renewed, and judged anew where it is
    /// not held any more.
    pub fn is_lease(&self) -> bool {
        self.limits.iter().all(|limit| limit.algorithm == Algorithm::Concurrency)
    }

    /// How long a lease is held by all of its limits.
    pub fn held_us(&self) -> u64 {
        self.limits.iter().map(|limit| limit.window_us).min().unwrap_or(0)
    }

    /// How long the charge must be remembered: not at all, or as long as a window holds
    /// it, and, but for a lease, at most `most_us`.
    pub fn remembered_us(&self, most_us: u64) -> u64 {
        if self.charge_id.is_empty() {
            return 0;
        }
        let longest_us = self.limits.iter().map(|limit| limit.window_us).max().unwrap_or(0);
        if self.is_lease() { longest_us } else { longest_us.min(most_us) }
    }

    /// What the limits together say to standings in their order.
    pub fn verdict(&self, standings: &[Standing]) -> Verdict {
        let denies =
            |(limit, standing): (&Arc<Limit>, &Standing)| !limit.shadow && !standing.allowed;
        if self.limits.iter().zip(standings).any(denies) {
            Verdict::Denied
        } else {
            Verdict::Allowed
        }
    }
}

/// A charge that is to be given back.
#[derive(Clone, Copy, Debug)]
pub struct Charged<'a> {
    /// Who was counted.
    pub subject: &'a str,
    /// As its ask said.
    pub charge_id: &'a str,
    /// Not if an ask found it made already.
    pub unless_repeated: bool,
}

/// Where something is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On Redis, by this key.
    Redis(String),
    /// In the memory of this process.
    Memory,
}

/// What became of an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A limit denies; nothing was charged.
    Denied,
    /// Charged now.
    Allowed,
    /// Charged before by the same ask; nothing was charged now, and a lease was
    /// renewed.
    Repeated,
    /// The id was used for another charge; nothing was charged.
    Reused,
}

impl Verdict {
    /// True when the charge stands.
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed | Self::Repeated)
    }
}

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of the ask.
    pub verdict: Verdict,
    /// One per limit in the order asked; after a charge, that of after. None
    /// when the id was reused.
    pub standings: Vec<Standing>,
    /// What it was decided by.
    pub source: Source,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The common count.
    Count,
    /// What this process took of it ahead of time.
    Slice,
    /// A denial that was told before, and holds until its wait is over.
    Denial,
    /// The limits' outage policies, in one of so many processes: nobody could count it
    /// together with others.
    Alone(u64),
}

impl Answer {
    /// Counted together.
    pub fn new(verdict: Verdict, standings: Vec<Standing>) -> Self {
        Self { verdict, standings, source: Source::Count }
    }

    /// Of how many processes one decided for itself, if it did.
    pub fn alone_of(&self) -> Option<u64> {
        if let Source::Alone(processes) = self.source { Some(processes) } else { None }
    }

    /// The longest wait that a limit imposes; 0 when allowed.
    pub fn retry_us(&self, ask: &Ask) -> u64 {
        let imposed = ask.limits.iter().zip(&self.standings).filter(|(limit, _)| !limit.shadow);
        imposed.map(|(_, standing)| standing.retry_us).max().unwrap_or(0)
    }
}
