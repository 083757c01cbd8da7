//! How long people waited, and what they were told meanwhile: figures, not
//! verdicts.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::journal::{Journal, Outcome, Wait, What};

/// What people saw of a span of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// The longest that anybody waited who waited in it.
    pub(crate) longest: BTreeMap<What, Duration>,
    /// What failed in it, and how often.
    pub(crate) failures: BTreeMap<String, usize>,
}

/// Of all who waited for something between `begin` and `end`.
pub(crate) fn figures(journals: &[Journal], (begin, end): (Instant, Instant)) -> Figures {
    let mut figures = Figures::default();
    let waits = journals.iter().flat_map(|journal| journal.waits.iter().copied());
    for wait in waits.chain(heard(journals)) {
        if wait.begun < end && wait.ended > begin {
            let longest = figures.longest.entry(wait.what).or_default();
            *longest = (*longest).max(wait.ended.saturating_duration_since(wait.begun));
        }
    }
    let failures = journals.iter().flat_map(|journal| &journal.failures);
    for (_, word) in failures.filter(|(at, _)| (begin..end).contains(at)) {
        *figures.failures.entry(word.clone()).or_default() += 1;
    }
    figures
}

/// From the acknowledgement of each message to every hearing of it.
fn heard(journals: &[Journal]) -> impl Iterator<Item = Wait> {
    let mut acknowledged = BTreeMap::new();
    for send in journals.iter().flat_map(|journal| &journal.sends) {
        if let (Outcome::Acknowledged(position), Some(at)) = (&send.outcome, send.answered) {
            acknowledged.insert(position.id.clone(), at);
        }
    }
    let heard = journals.iter().flat_map(|journal| &journal.heard_at);
    heard.filter_map(move |(id, since, ended)| {
        let begun = *acknowledged.get(id)?;
        // What was said before they came in was not waited for.
        (begun >= *since).then_some(Wait { what: What::Hear, begun, ended: *ended })
    })
}
