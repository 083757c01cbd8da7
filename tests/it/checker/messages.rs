//! What was said, against the logs.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    journal::{Journal, Outcome, Send},
    verdict::Violation,
};
use crate::ledger::{Row, Rows};

const ONCE: &str = "an acknowledged message is in the log once, as it was acknowledged";
const REFUSED: &str = "a refused message is not in the log";
const UNKNOWN: &str = "a message of unknown outcome is in the log once or not at all";
const SAID: &str = "nothing is in the log that nobody said";
const GAPLESS: &str = "a log counts 1, 2, 3, … to its room's head";

/// A message's place: room, sender, key.
type Key<'a> = (&'a str, &'a str, &'a str);

pub(super) fn check(journals: &[Journal], rows: &Rows) -> Vec<Violation> {
    let mut logged: BTreeMap<Key<'_>, Vec<&Row>> = BTreeMap::new();
    for (room, log) in &rows.rooms {
        for row in log.iter().filter(|row| row.is_message) {
            logged.entry((room, &row.actor, &row.client_msg_id)).or_default().push(row);
        }
    }
    let mut found = Vec::new();
    let mut said = BTreeSet::new();
    for journal in journals {
        for send in &journal.sends {
            let key = (send.room.as_str(), journal.user.as_str(), send.key.as_str());
            let there = logged.get(&key).map_or(&[][..], Vec::as_slice);
            found.extend(contradiction(send, there));
            said.insert(key);
        }
    }
    let ghosts = logged.keys().filter(|key| !said.contains(*key));
    found.extend(ghosts.map(|key| Violation::new(SAID, format_args!("{key:?}"))));
    found.extend(rows.rooms.iter().filter_map(|(room, log)| hole(room, log, rows)));
    found
}

fn contradiction(send: &Send, there: &[&Row]) -> Option<Violation> {
    let (invariant, holds) = match &send.outcome {
        Outcome::Acknowledged(position) => {
            (ONCE, matches!(there, [row] if row.position == *position && row.body == send.body))
        }
        Outcome::Refused(_) => (REFUSED, there.is_empty()),
        Outcome::Unknown => {
            (UNKNOWN, there.len() <= 1 && there.iter().all(|row| row.body == send.body))
        }
    };
    (!holds).then(|| Violation::new(invariant, format_args!("{send:?} stands there as {there:?}")))
}

fn hole(room: &str, log: &[Row], rows: &Rows) -> Option<Violation> {
    let is_counted = log.iter().map(|row| row.position.seq).eq(1..=log.len() as u64);
    let head = rows.heads.get(room).copied();
    let holds = is_counted && head == Some(log.len() as u64);
    (!holds).then(|| {
        let seqs: Vec<_> = log.iter().map(|row| row.position.seq).collect();
        Violation::new(GAPLESS, format_args!("{room}: head {head:?}, rows {seqs:?}"))
    })
}
