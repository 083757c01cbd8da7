//! Who was told to be offline, against who was.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    journal::{Journal, Sight},
    verdict::Violation,
};

const NEVER: &str = "who is connected, or returns within the grace, is offline to nobody";
/// Shorter than the grace of 10 s by what a client does not see of its gateway's
/// time.
const GRACE: Duration = Duration::from_secs(9);
/// An absence shows for this long after its end at most: the rest of a process
/// that could not know, and what a busy machine adds.
const ECHO: Duration = Duration::from_secs(20);

pub(super) fn check_offline(journals: &[Journal]) -> Vec<Violation> {
    let by_user: BTreeMap<&str, &Journal> =
        journals.iter().map(|it| (it.user.as_str(), it)).collect();
    let mut found = Vec::new();
    for journal in journals {
        for Sight { user, at } in &journal.offline {
            let seen = by_user.get(user.as_str());
            if !seen.is_some_and(|seen| was_away(seen, *at)) {
                let who = &journal.user;
                let silences = seen.map(|seen| spans(&seen.silences, *at));
                let what = format!("{who} was told so of {user}, whose silences were {silences:?}");
                found.push(Violation::new(NEVER, what));
            }
        }
    }
    found
}

/// Away for longer than the grace a short while ago, or unknown to presence as
/// its gateway said.
fn was_away(seen: &Journal, at: Instant) -> bool {
    let recent = |(begin, end): &&(Instant, Instant)| *begin <= at && at <= *end + ECHO;
    let is_long = |(begin, end): &(Instant, Instant)| at.min(*end) - *begin >= GRACE;
    seen.silences.iter().filter(recent).any(is_long) || seen.blind.iter().any(|it| recent(&it))
}

/// Seconds before `at`, for people.
fn spans(of: &[(Instant, Instant)], at: Instant) -> Vec<String> {
    let before = |it: Instant| at.saturating_duration_since(it).as_secs_f32();
    let spans =
        of.iter().map(|(begin, end)| format!("-{:.1}..-{:.1}", before(*begin), before(*end)));
    spans.collect()
}
