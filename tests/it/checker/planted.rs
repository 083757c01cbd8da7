//! Faults planted in journals and rows made by hand: each is found, and named.

use std::collections::BTreeSet;

use mingle_client::ws::proto::{Position, Ticket, TicketState};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::{
    audit::{PAGES, difference, untrue},
    journal::{Journal, Outcome, Page, Send, Sight, Stay},
    verdict::check,
};
use crate::ledger::{Made, Match, Row, Rows, Ticket as TicketRow};

fn position(seq: u64) -> Position {
    Position { seq, id: format!("id-{seq}") }
}

fn row(seq: u64, actor: &str, key: &str) -> Row {
    let is_message = !key.is_empty();
    let body = if is_message { format!("says {key}") } else { String::new() };
    let (actor, client_msg_id) = (actor.to_owned(), key.to_owned());
    Row { position: position(seq), is_message, actor, client_msg_id, body }
}

fn ticket(id: &str, user: &str) -> TicketRow {
    let of = Some("match".to_owned());
    TicketRow { id: id.to_owned(), user: user.to_owned(), state: "matched".to_owned(), of }
}

/// Ann and bob met, joined and said one thing each.
fn run() -> (Vec<Journal>, Rows) {
    let users = ["ann", "bob"].map(str::to_owned).to_vec();
    let log = vec![row(1, "ann", ""), row(2, "bob", ""), row(3, "ann", "a"), row(4, "bob", "b")];
    let journals = users.iter().zip([(3, "a"), (4, "b")]).map(|(user, (seq, key))| {
        let mut journal = Journal::new(user);
        journal.sends.push(Send {
            room: "room".to_owned(),
            key: key.to_owned(),
            body: format!("says {key}"),
            outcome: Outcome::Acknowledged(position(seq)),
            answered: None,
        });
        let (room, after) = ("room".to_owned(), Position::default());
        let (since, heard) = (None, log.clone());
        journal.stays.push(Stay { room, after, since, heard, left: false });
        journal.told(&Ticket {
            ticket_id: format!("t-{user}"),
            state: TicketState::Matched.into(),
            match_id: "match".to_owned(),
            room_id: "room".to_owned(),
        });
        journal.called.insert(format!("t-{user}"));
        journal
    });
    let journals = journals.collect();
    let room = "room".to_owned();
    let rows = Rows {
        rooms: [(room.clone(), log)].into(),
        heads: [(room.clone(), 4)].into(),
        tickets: vec![ticket("t-ann", "ann"), ticket("t-bob", "bob")],
        matches: vec![Match {
            id: "match".to_owned(),
            tickets: vec!["t-ann".to_owned(), "t-bob".to_owned()],
            users: users.clone(),
            room: Some(room.clone()),
        }],
        made: vec![Made { id: room, of: Some("match".to_owned()), members: users }],
    };
    (journals, rows)
}

fn log(rows: &mut Rows) -> &mut Vec<Row> {
    rows.rooms.get_mut("room").unwrap()
}

/// What is found where this was done to a run without faults.
#[track_caller]
fn assert_found(expected: &[&str], plant: impl FnOnce(&mut Vec<Journal>, &mut Rows)) {
    let (mut journals, mut rows) = run();
    plant(&mut journals, &mut rows);
    let verdict = check(&journals, &rows);
    let found: BTreeSet<_> = verdict.0.iter().map(|it| it.invariant).collect();
    assert_eq!(found, expected.iter().copied().collect(), "{verdict}");
}

const ACKNOWLEDGED: &str = "an acknowledged message is in the log once, as it was acknowledged";
const SAID: &str = "nothing is in the log that nobody said";
const GAPLESS: &str = "a log counts 1, 2, 3, … to its room's head";
const ORDER: &str = "events of a room are heard as logged: in order, each once, without a hole";
const WHOLE: &str = "who is in a room hears its log to the end";
const PAIR: &str = "a match is of two tickets of two users";
const ONCE: &str = "a ticket is in one match at most, the one that it names";
const ROOM: &str = "a match has one room of its own, of its users";
const TOLD: &str = "a ticket ends once, as its owner was told";
const CALLED: &str = "who is matched is told the room without asking to leave";
const OFFLINE: &str = "who is connected, or returns within the grace, is offline to nobody";

#[test]
fn a_run_without_faults_has_no_violation() {
    assert_found(&[], |_, _| {});
}

#[test]
fn faults_of_the_log_are_found() {
    assert_found(&[ACKNOWLEDGED, GAPLESS, ORDER], |_, rows| {
        log(rows).pop();
    });
    assert_found(&[ACKNOWLEDGED, ORDER], |_, rows| log(rows)[3].body = "other".to_owned());
    assert_found(&[ACKNOWLEDGED, WHOLE], |_, rows| {
        log(rows).push(row(5, "bob", "b"));
        rows.heads.insert("room".to_owned(), 5);
    });
    assert_found(&[SAID, WHOLE], |_, rows| {
        log(rows).push(row(5, "bob", "ghost"));
        rows.heads.insert("room".to_owned(), 5);
    });
    assert_found(&[GAPLESS], |_, rows| {
        rows.heads.insert("room".to_owned(), 5);
    });
    assert_found(&[GAPLESS, ORDER], |_, rows| {
        log(rows).remove(1);
    });
}

#[test]
fn outcomes_that_are_not_so_are_found() {
    assert_found(&["a refused message is not in the log"], |journals, _| {
        journals[0].sends[0].outcome = Outcome::Refused("ROOM_CLOSED".to_owned());
    });
    assert_found(&[], |journals, _| journals[0].sends[0].outcome = Outcome::Unknown);
    let unknown = "a message of unknown outcome is in the log once or not at all";
    assert_found(&[unknown, WHOLE], |journals, rows| {
        journals[1].sends[0].outcome = Outcome::Unknown;
        log(rows).push(row(5, "bob", "b"));
        rows.heads.insert("room".to_owned(), 5);
    });
    assert_found(&["every answer is typed"], |journals, _| journals[0].wrong("INTERNAL"));
}

#[test]
fn faults_of_delivery_are_found() {
    let heard = |journals: &mut Vec<Journal>| journals[1].stays[0].heard.clone();
    assert_found(&[ORDER], |journals, _| {
        let doubled = heard(journals)[3].clone();
        journals[1].stays[0].heard.push(doubled);
    });
    assert_found(&[ORDER], |journals, _| journals[1].stays[0].heard.swap(2, 3));
    assert_found(&[ORDER], |journals, _| drop(journals[1].stays[0].heard.remove(1)));
    assert_found(&[WHOLE], |journals, _| drop(journals[1].stays[0].heard.pop()));
    assert_found(&[], |journals, _| {
        journals[1].stays[0].heard.pop();
        journals[1].stays[0].left = true;
    });
    // Who began at the second event owes nothing of the first two.
    assert_found(&[], |journals, _| {
        journals[1].stays[0].heard.drain(..2);
        journals[1].stays[0].after = position(2);
    });
}

#[test]
fn double_matches_are_found() {
    assert_found(&[ONCE, ROOM], |_, rows| {
        let again = Match { id: "again".to_owned(), ..rows.matches[0].clone() };
        rows.matches.push(again);
    });
    assert_found(&[PAIR, TOLD], |_, rows| drop(rows.tickets.pop()));
    assert_found(&[PAIR, TOLD, CALLED], |_, rows| rows.tickets[1].user = "ann".to_owned());
    assert_found(&[ONCE, TOLD], |_, rows| rows.tickets[0].of = Some("other".to_owned()));
    assert_found(&[ROOM], |_, rows| {
        rows.made.push(Made { id: "second".to_owned(), ..rows.made[0].clone() });
    });
    assert_found(&[ROOM], |_, rows| rows.made[0].members = vec!["ann".to_owned()]);
    assert_found(&["a user waits with one ticket at most"], |_, rows| {
        let waits =
            |id: &str| TicketRow { state: "waiting".to_owned(), of: None, ..ticket(id, "ann") };
        rows.tickets.extend([waits("t-1"), waits("t-2")]);
    });
}

#[test]
fn outcomes_of_tickets_that_are_not_so_are_found() {
    let told = |state: TicketState, match_id: &str| Ticket {
        ticket_id: "t-ann".to_owned(),
        state: state.into(),
        match_id: match_id.to_owned(),
        room_id: String::new(),
    };
    assert_found(&[TOLD], |journals, _| journals[0].told(&told(TicketState::Cancelled, "")));
    assert_found(&[TOLD], |journals, _| journals[0].told(&told(TicketState::Matched, "other")));
    assert_found(&[TOLD], |journals, _| journals[1].told(&told(TicketState::Waiting, "")));
    assert_found(&[], |journals, _| journals[0].told(&told(TicketState::Waiting, "")));
}

#[test]
fn a_match_of_which_nobody_told_is_found() {
    // The answer to a cancel is known, and stands for nothing.
    assert_found(&[CALLED], |journals, _| journals[1].called.clear());
    assert_found(&[CALLED], |journals, _| {
        journals[1].called.clear();
        journals[1].tickets.clear();
    });
    // A match of somebody who keeps no journal here.
    assert_found(&[], |_, rows| {
        let users = vec!["carl".to_owned(), "dan".to_owned()];
        let tickets = users.iter().map(|user| format!("t-{user}")).collect::<Vec<_>>();
        for (id, user) in tickets.iter().zip(&users) {
            rows.tickets.push(TicketRow { of: Some("other".to_owned()), ..ticket(id, user) });
        }
        let (id, room) = ("other".to_owned(), Some("elsewhere".to_owned()));
        let made =
            Made { id: "elsewhere".to_owned(), of: Some(id.clone()), members: users.clone() };
        rows.matches.push(Match { id, tickets, users, room });
        rows.made.push(made);
    });
}

/// A message as History tells it.
fn read(row: &Row) -> Value {
    json!({"seq": row.position.seq.to_string(), "messageId": row.position.id,
        "senderId": row.actor, "clientMsgId": row.client_msg_id, "body": row.body})
}

#[test]
fn a_history_that_is_not_the_log_is_found() {
    let log = run().1.rooms["room"].clone();
    let read: Vec<_> = log.iter().filter(|row| row.is_message).map(read).collect();
    assert_eq!(difference(&read, &log), None);
    assert!(difference(&[], &log).is_some());
    assert!(difference(&read[1..], &log).is_some());
    assert!(difference(&[&read[..], &read[..1]].concat(), &log).is_some());
    for key in ["messageId", "senderId", "clientMsgId", "body"] {
        let mut read = read.clone();
        read[1][key] = json!("other");
        assert!(difference(&read, &log).is_some(), "{key}");
    }
    let mut swapped = read.clone();
    swapped.reverse();
    assert!(difference(&swapped, &log).is_some());
}

#[test]
fn a_page_that_is_not_of_the_log_is_found() {
    let log = run().1.rooms["room"].clone();
    let said: Vec<_> = log.iter().filter(|row| row.is_message).map(read).collect();
    let last = log.last().unwrap().position.seq;
    let page = |messages: &[Value], before| Page {
        room: "room".to_owned(),
        before,
        limit: 1,
        messages: messages.to_vec(),
    };
    let right = page(&said[said.len() - 1..], last + 1);
    let other = page(&said[..1], last + 1);
    let none = page(&[], last + 1);
    assert_found(&[], |journals, _| journals[0].pages.push(right.clone()));
    assert_found(&[PAGES], |journals, _| journals[0].pages.push(other.clone()));
    assert_found(&[PAGES], |journals, _| journals[1].pages.push(none.clone()));
}

#[test]
fn presence_that_is_not_the_truth_is_found() {
    let people = [("ann", true), ("bob", false)].into();
    let found = |told: &[(&str, &str)]| {
        let told = told.iter().map(|(user, status)| json!({"userId": user, "status": status}));
        let told = json!({"presences": told.collect::<Vec<_>>()});
        untrue(&told, &people).into_iter().map(|(user, _)| user).collect::<Vec<_>>()
    };
    assert_eq!(found(&[("ann", "ONLINE"), ("bob", "OFFLINE")]), [""; 0]);
    assert_eq!(found(&[("ann", "UNKNOWN"), ("bob", "OFFLINE")]), ["ann"]);
    assert_eq!(found(&[("ann", "ONLINE"), ("bob", "ONLINE")]), ["bob"]);
    assert_eq!(found(&[("ann", "ONLINE")]), ["bob"]);
    assert_eq!(found(&[]), ["ann", "bob"]);
    assert_eq!(found(&[("ann", "ONLINE"), ("ann", "OFFLINE"), ("bob", "OFFLINE")]), ["ann"]);
    assert_eq!(found(&[("ann", "ONLINE"), ("bob", "OFFLINE"), ("eve", "OFFLINE")]), ["eve"]);
}

#[test]
fn who_is_shown_offline_was_away() {
    let begin = Instant::now();
    let after = |seconds: u64| begin + Duration::from_secs(seconds);
    let told = |journals: &mut Vec<Journal>, at| {
        journals[0].offline.push(Sight { user: "bob".to_owned(), at });
    };
    assert_found(&[OFFLINE], |journals, _| told(journals, after(11)));
    assert_found(&[], |journals, _| {
        journals[1].silences.push((begin, after(14)));
        told(journals, after(11));
    });
    // A resume within the grace.
    assert_found(&[OFFLINE], |journals, _| {
        journals[1].silences.push((begin, after(8)));
        told(journals, after(11));
    });
    // Long before, and long over.
    assert_found(&[OFFLINE], |journals, _| {
        journals[1].silences.push((begin, after(14)));
        told(journals, after(60));
    });
    // The gateway said that presence cannot know.
    assert_found(&[], |journals, _| {
        journals[1].blind.push((begin, after(12)));
        told(journals, after(11));
    });
}
