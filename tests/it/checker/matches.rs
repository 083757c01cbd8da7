//! Who met whom, by the rows and by what people were told.

use std::collections::{BTreeMap, BTreeSet};

use mingle_client::ws::proto::TicketState;

use super::{journal::Journal, verdict::Violation};
use crate::ledger::{Made, Match, Rows, Ticket};

const PAIR: &str = "a match is of two tickets of two users";
const ONCE: &str = "a ticket is in one match at most, the one that it names";
const ROOM: &str = "a match has one room of its own, of its users";
const ACTIVE: &str = "a user waits with one ticket at most";
const TOLD: &str = "a ticket ends once, as its owner was told";
const CALLED: &str = "who is matched is told the room without asking to leave";

/// The rows among themselves.
pub(crate) fn check(rows: &Rows) -> Vec<Violation> {
    let tickets: BTreeMap<&str, &Ticket> =
        rows.tickets.iter().map(|it| (it.id.as_str(), it)).collect();
    let mut found = Vec::new();
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    let mut rooms: BTreeMap<&str, &str> = BTreeMap::new();
    let mut made: BTreeMap<&str, Vec<&Made>> = BTreeMap::new();
    for room in &rows.made {
        made.entry(room.of.as_deref().unwrap_or_default()).or_default().push(room);
    }
    for of in &rows.matches {
        let members: Vec<_> = of.tickets.iter().filter_map(|it| tickets.get(it.as_str())).collect();
        let users: BTreeSet<_> = members.iter().map(|ticket| &ticket.user).collect();
        if of.tickets.len() != 2 || users.len() != 2 || !users.into_iter().eq(&of.users) {
            found.push(Violation::new(PAIR, format_args!("{of:?} of {members:?}")));
        }
        for ticket in &members {
            let earlier = taken.insert(&ticket.id, &of.id);
            if earlier.is_some() || ticket.of.as_ref() != Some(&of.id) {
                found.push(Violation::new(ONCE, format_args!("{ticket:?}: {earlier:?}, {of:?}")));
            }
        }
        found.extend(room(of, made.get(&*of.id).map_or(&[], Vec::as_slice)));
        if let Some(room) = &of.room
            && let Some(earlier) = rooms.insert(room, &of.id)
        {
            found.push(Violation::new(ROOM, format_args!("{room}: {earlier} and {}", of.id)));
        }
    }
    let lost =
        rows.tickets.iter().filter(|it| it.of.is_some() && !taken.contains_key(it.id.as_str()));
    found.extend(lost.map(|ticket| Violation::new(ONCE, format_args!("{ticket:?}: no match"))));
    found.extend(active(rows));
    found
}

/// The room that the match names is the one made for it.
fn room(of: &Match, made: &[&Made]) -> Option<Violation> {
    let holds = matches!(made, [made]
        if Some(&made.id) == of.room.as_ref() && made.members == of.users);
    (!holds).then(|| Violation::new(ROOM, format_args!("{of:?}: {made:?}")))
}

fn active(rows: &Rows) -> Vec<Violation> {
    let mut waiting = BTreeMap::<&str, usize>::new();
    for ticket in rows.tickets.iter().filter(|ticket| ticket.state == "waiting") {
        *waiting.entry(&ticket.user).or_default() += 1;
    }
    let twice = waiting.into_iter().filter(|(_, count)| *count > 1);
    twice.map(|of| Violation::new(ACTIVE, format_args!("{of:?}"))).collect()
}

/// What owners were told of their tickets.
pub(super) fn check_told(journals: &[Journal], rows: &Rows) -> Vec<Violation> {
    let tickets: BTreeMap<&str, &Ticket> =
        rows.tickets.iter().map(|it| (it.id.as_str(), it)).collect();
    let rooms: BTreeMap<&str, &Match> =
        rows.matches.iter().map(|it| (it.id.as_str(), it)).collect();
    let mut found = Vec::new();
    for journal in journals {
        for (id, told) in &journal.tickets {
            let row = tickets.get(id.as_str());
            let of = row.and_then(|row| rooms.get(row.of.as_deref()?));
            let is_so = told.iter().all(|(state, match_id, room)| {
                row.is_some_and(|row| row.user == journal.user)
                    && is_as_told(*state, row.map_or("", |row| &row.state))
                    && (match_id.is_empty() || of.is_some_and(|of| of.id == *match_id))
                    && (room.is_empty() || of.is_some_and(|of| of.room.as_ref() == Some(room)))
            });
            if !is_so {
                let user = &journal.user;
                found.push(Violation::new(
                    TOLD,
                    format_args!("{user}: {told:?}, but {row:?}, {of:?}"),
                ));
            }
        }
    }
    found
}

/// Every owner of a ticket whose match has a room was told of it.
pub(super) fn check_called(journals: &[Journal], rows: &Rows) -> Vec<Violation> {
    let by_user: BTreeMap<&str, &Journal> =
        journals.iter().map(|it| (it.user.as_str(), it)).collect();
    let rooms: BTreeMap<&str, &str> =
        rows.matches.iter().filter_map(|it| Some((it.id.as_str(), it.room.as_deref()?))).collect();
    let missed = rows.tickets.iter().filter_map(|ticket| {
        let room = rooms.get(ticket.of.as_deref()?)?;
        let owner = by_user.get(ticket.user.as_str())?;
        let told = owner.tickets.get(&ticket.id);
        let missed = !owner.called.contains(&ticket.id);
        missed.then(|| Violation::new(CALLED, format_args!("{ticket:?}, {room}: told {told:?}")))
    });
    missed.collect()
}

/// A ticket that waited may have ended since; every other state is the last.
fn is_as_told(told: TicketState, row: &str) -> bool {
    match told {
        TicketState::Waiting => true,
        TicketState::Matched => row == "matched",
        TicketState::Cancelled => row == "cancelled",
        TicketState::Expired => row == "expired",
        TicketState::Unspecified => false,
    }
}
