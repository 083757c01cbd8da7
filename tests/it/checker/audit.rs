//! What the gateways answer about the past and the present when all is quiet.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use futures::{
    future,
    stream::{self, StreamExt as _},
};
use serde_json::{Value, json};

use super::{
    journal::{Journal, Page},
    verdict::Violation,
};
use crate::{
    http,
    ledger::{Row, Rows},
    world::{FUTURE, history, mint, number},
};

const HISTORY: &str = "History over HTTP is the log, whichever gateway is asked";
pub(super) const PAGES: &str = "a page of the past is the log, whenever it is read";
/// Users named in one question.
const AT_ONCE: usize = 100;
/// Rooms that are read at the same time.
const READERS: usize = 16;

/// Compares History of each room, as each gateway reads it to somebody who was
/// there, with the rows.
pub(crate) async fn histories(
    gateways: &[SocketAddr],
    journals: &[Journal],
    rows: &Rows,
) -> Vec<Violation> {
    let stays = journals.iter().flat_map(|it| it.stays.iter().map(|stay| (&stay.room, &it.user)));
    let readers: BTreeMap<_, _> = stays.collect();
    let asked = readers.iter().flat_map(|it| gateways.iter().map(move |at| (it, *at)));
    let compared = asked.map(|((room, user), gateway)| differs(gateway, user, room, rows));
    stream::iter(compared).buffer_unordered(READERS).filter_map(future::ready).collect().await
}

async fn differs(gateway: SocketAddr, user: &str, room: &str, rows: &Rows) -> Option<Violation> {
    let read = history(|| gateway, user, room).await;
    let log = rows.rooms.get(room).map_or(&[][..], Vec::as_slice);
    let differs = difference(&read, log)?;
    Some(Violation::new(HISTORY, format_args!("{room} at {gateway}: {differs}")))
}

/// Compares the pages that were read meanwhile with the rows.
pub(super) fn pages(journals: &[Journal], rows: &Rows) -> Vec<Violation> {
    let read =
        journals.iter().flat_map(|journal| journal.pages.iter().map(move |it| (journal, it)));
    let differs = |(journal, page): (&Journal, &Page)| {
        let log = rows.rooms.get(&page.room).map_or(&[][..], Vec::as_slice);
        let is_before = |row: &&Row| row.is_message && row.position.seq < page.before;
        let log: Vec<_> = log.iter().filter(is_before).cloned().collect();
        let differs = difference(&page.messages, &log[log.len().saturating_sub(page.limit)..])?;
        let (user, room, before) = (&journal.user, &page.room, page.before);
        Some(Violation::new(PAGES, format_args!("{user}: {room} before {before}: {differs}")))
    };
    read.filter_map(differs).collect()
}

/// What messages that were read are other than those of the log.
pub(super) fn difference(read: &[Value], log: &[Row]) -> Option<String> {
    let read = read.iter().map(|message| {
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let seq = number(&message["seq"]);
        (seq, text("messageId"), text("senderId"), text("clientMsgId"), text("body"))
    });
    let log = log.iter().filter(|row| row.is_message).cloned();
    let log =
        log.map(|row| (row.position.seq, row.position.id, row.actor, row.client_msg_id, row.body));
    let (read, log): (Vec<_>, Vec<_>) = (read.collect(), log.collect());
    (read != log).then(|| {
        let differs = read.iter().zip(&log).find(|(read, log)| read != log);
        let (read, log) = (read.len(), log.len());
        format!("{read} messages of {log}, first {differs:?}")
    })
}

/// Users about whom a gateway says other than what is: gateway, user, what it
/// says.
pub(crate) async fn presences(
    gateways: &[SocketAddr],
    people: &BTreeMap<String, bool>,
) -> BTreeSet<(SocketAddr, String, String)> {
    let claims = json!({"sub": "auditor", "exp": FUTURE, "aud": "mingle",
        "presence": {"visibility": "any"}});
    let (token, all) = (mint(&claims), people.keys().collect::<Vec<_>>());
    let mut wrong = BTreeSet::new();
    for gateway in gateways {
        for some in all.chunks(AT_ONCE) {
            let users: Vec<_> = some.iter().map(|user| format!("user={user}")).collect();
            let path = format!("/api/presence?{}", users.join("&"));
            let told = http::get(*gateway, &path, &token).await.ok();
            let some = some.iter().map(|user| (user.as_str(), people[*user]));
            let untrue = untrue(&told, &some.collect());
            wrong.extend(untrue.into_iter().map(|(user, status)| (*gateway, user, status)));
        }
    }
    wrong
}

/// Users of whom an answer says other than what is, says it twice, or says
/// nothing; and those who were not asked for.
pub(super) fn untrue(told: &Value, people: &BTreeMap<&str, bool>) -> Vec<(String, String)> {
    let mut said: BTreeMap<String, Vec<&str>> =
        people.keys().map(|user| ((*user).to_owned(), Vec::new())).collect();
    for presence in told["presences"].as_array().into_iter().flatten() {
        let text = |key: &str| presence[key].as_str().unwrap_or_default();
        said.entry(text("userId").to_owned()).or_default().push(text("status"));
    }
    let is = |user: &str| match people.get(user) {
        Some(true) => "ONLINE",
        Some(false) => "OFFLINE",
        None => "not asked for",
    };
    let untrue = said.into_iter().filter(|(user, status)| *status != [is(user)]);
    untrue.map(|(user, status)| (user, format!("{status:?}"))).collect()
}
