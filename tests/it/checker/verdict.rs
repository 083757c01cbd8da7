//! Journals and rows compared.

use std::{collections::BTreeMap, fmt};

use super::{audit, heard, journal::Journal, matches, messages, presence};
use crate::ledger::Rows;

/// Violations of one invariant that are printed.
const SHOWN: usize = 8;

/// One fact that contradicts an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, what: impl fmt::Display) -> Self {
        Self { invariant, what: what.to_string() }
    }
}

/// All violations; none is what is wished for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(pub(crate) Vec<Violation>);

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_invariant: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for violation in &self.0 {
            by_invariant.entry(violation.invariant).or_default().push(&violation.what);
        }
        for (invariant, found) in by_invariant {
            writeln!(f, "{invariant}: {} times", found.len())?;
            for what in found.iter().take(SHOWN) {
                writeln!(f, "    {what}")?;
            }
        }
        Ok(())
    }
}

/// What the rows of a run say against its journals, or against themselves.
///
/// The run is quiet: everything that was unknown is settled as far as it will
/// be, and whoever is still in a room had the time to hear all of it.
pub(crate) fn check(journals: &[Journal], rows: &Rows) -> Verdict {
    let mut found = Vec::new();
    for journal in journals {
        let answers = journal.wrong.iter();
        let wrong = |what| Violation::new("every answer is typed", what);
        found.extend(answers.map(|what| wrong(format!("{}: {what}", journal.user))));
    }
    found.extend(messages::check(journals, rows));
    found.extend(heard::check(journals, rows));
    found.extend(audit::pages(journals, rows));
    found.extend(matches::check(rows));
    found.extend(matches::check_told(journals, rows));
    found.extend(matches::check_called(journals, rows));
    found.extend(presence::check_offline(journals));
    Verdict(found)
}
