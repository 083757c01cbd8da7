//! Conformance of `Tickets`: what every backend of the rows does. A backend is
//! one line.

use std::{any::Any, sync::Arc};

use mingle_matchmaking::{
    domain::{Content, Liveness, Position, State, Ticket},
    store::{Created, Differs, End, Paired, Pairing, Tickets, sql::SqlTickets},
};
use tokio::task::JoinSet;

use crate::through::open_grpc;

pub(crate) const POOL: &str = "test";
/// The rules of the bodies' pools.
pub(crate) const TTL_MS: i64 = 10_000;
pub(crate) const LEASE_MS: i64 = 500;
const NOW: i64 = 1_000_000;

macro_rules! suite {
    ($backend:ident, $open:expr) => {
        suite!($backend, $open;
            a_user_has_one_active_ticket_per_pool,
            an_overdue_ticket_makes_way,
            many_at_once_for_one_user_are_one_ticket,
            a_match_has_all_its_tickets_or_is_not,
            a_ticket_ends_once_whoever_is_first,
            the_first_room_stays,
            of_many_rooms_at_once_one_stays,
            a_match_stands_until_its_owner_was_told,
            a_lease_moves_only_on,
            partners_are_remembered_newest_first,
            waiting_tickets_are_paged_by_age,
            what_is_over_is_found,
            outcomes_that_nobody_took_are_found,
        );
    };
    ($backend:ident, $open:expr; $($body:ident,)*) => {
        mod $backend {
            use super::*;
            $(#[tokio::test]
            async fn $body() {
                let (tickets, _guard) = $open.await;
                super::$body(&tickets).await;
            })*
        }
    };
}

type Store = Arc<dyn Tickets>;

suite!(sqlite, open_sqlite());
suite!(postgres, open_postgres());
suite!(grpc, open_grpc());

async fn open_sqlite() -> (Store, Box<dyn Any>) {
    let dir = tempfile::tempdir().unwrap();
    let database = crate::world::database(dir.path()).await;
    (Arc::new(SqlTickets::open(database.into()).await.unwrap()), Box::new(dir))
}

async fn open_postgres() -> (Store, Box<dyn Any>) {
    let database = crate::world::postgres().await;
    (Arc::new(SqlTickets::open(database).await.unwrap()), Box::new(()))
}

fn ticket(id: &str, user: &str, created_at: i64) -> Ticket {
    Ticket {
        ticket_id: id.into(),
        user_id: user.into(),
        pool: POOL.into(),
        content: content("female", &["male"]),
        state: State::Waiting,
        liveness: Liveness::Presence,
        lease_until: None,
        created_at,
        expires_at: created_at + TTL_MS,
        ended_at: None,
        of: None,
        told: false,
    }
}

fn leased(ticket: Ticket) -> Ticket {
    let lease_until = Some(ticket.created_at + LEASE_MS);
    Ticket { liveness: Liveness::Lease, lease_until, ..ticket }
}

fn content(gender: &str, wants: &[&str]) -> Content {
    let values = wants.iter().map(|&value| value.to_owned()).collect();
    let wants = (!wants.is_empty()).then_some(("gender".to_owned(), values));
    Content {
        attributes: [("gender".to_owned(), gender.to_owned())].into(),
        wants: wants.into_iter().collect(),
    }
}

fn pairing(match_id: &str, ids: &[&str]) -> Pairing {
    let ticket_ids = ids.iter().map(|&id| id.to_owned()).collect();
    Pairing { match_id: match_id.into(), pool: POOL.into(), ticket_ids }
}

async fn made(store: &Store, ticket: &Ticket) {
    let created = store.create(ticket.clone(), ticket.created_at).await.unwrap();
    assert_eq!(created, Created::New { overdue: None });
}

async fn read(store: &Store, id: &str) -> Ticket {
    store.get(&[id.to_owned(), "absent".to_owned()]).await.unwrap().pop().unwrap()
}

/// Makes `ids` of users of the same names, and a match of them.
async fn matched(store: &Store, match_id: &str, ids: &[&str], at: i64) {
    for id in ids {
        made(store, &ticket(id, id, at)).await;
    }
    let paired = store.pair(pairing(match_id, ids), at).await.unwrap();
    assert!(matches!(paired, Paired::Matched(..)), "{paired:?}");
}

async fn a_user_has_one_active_ticket_per_pool(store: &Store) {
    let first = ticket("1", "ann", NOW);
    made(store, &first).await;
    assert_eq!(read(store, "1").await, first);
    let again = ticket("2", "ann", NOW + 1);
    let created = store.create(again.clone(), NOW + 1).await.unwrap();
    assert_eq!(created, Created::Existing(Box::new(first)));
    for (content, differs) in [
        (content("male", &["male"]), Differs::Attributes),
        (content("female", &[]), Differs::Wants),
    ] {
        let other = Ticket { content, ..again.clone() };
        assert_eq!(store.create(other, NOW).await.unwrap(), Created::Other { differs });
    }
    made(store, &Ticket { pool: "elsewhere".into(), ..again.clone() }).await;
    made(store, &ticket("3", "bob", NOW)).await;
    let adopting = leased(Ticket { ticket_id: "4".into(), ..again });
    store.create(adopting.clone(), NOW + 1).await.unwrap();
    let adopted = read(store, "1").await;
    assert_eq!((adopted.liveness, adopted.lease_until), (Liveness::Lease, adopting.lease_until));
}

async fn an_overdue_ticket_makes_way(store: &Store) {
    made(store, &ticket("1", "ann", NOW)).await;
    let late = ticket("2", "ann", NOW + 10_000);
    let created = store.create(late, NOW + 10_000).await.unwrap();
    let overdue = read(store, "1").await;
    assert_eq!((overdue.state, overdue.ended_at), (State::Expired, Some(NOW + 10_000)));
    assert_eq!(created, Created::New { overdue: Some(Box::new(overdue)) });
    assert_eq!(read(store, "2").await.state, State::Waiting);
}

async fn many_at_once_for_one_user_are_one_ticket(store: &Store) {
    let mut tasks = JoinSet::new();
    for (user, n) in (0..40).flat_map(|user| (0..6).map(move |n| (user, n))) {
        let wish = ticket(&format!("{user}-{n}"), &format!("user-{user}"), NOW);
        let store = store.clone();
        tasks.spawn(async move {
            let created = store.create(wish.clone(), NOW).await.unwrap();
            match created {
                Created::New { overdue: None } => (user, wish.ticket_id, true),
                Created::Existing(ticket) => (user, ticket.ticket_id, false),
                other => panic!("{other:?}"),
            }
        });
    }
    let told = tasks.join_all().await;
    for user in 0..40 {
        let told: Vec<_> = told.iter().filter(|(of, ..)| *of == user).collect();
        assert_eq!(told.iter().filter(|(.., new)| *new).count(), 1, "{told:?}");
        assert!(told.iter().all(|(_, id, _)| *id == told[0].1), "{told:?}");
        assert_eq!(read(store, &told[0].1).await.state, State::Waiting);
    }
}

async fn a_match_has_all_its_tickets_or_is_not(store: &Store) {
    for (id, user) in [("1", "bob"), ("2", "ann"), ("3", "eve")] {
        made(store, &ticket(id, user, NOW)).await;
    }
    let paired = store.pair(pairing("m", &["1", "2"]), NOW + 7).await.unwrap();
    let Paired::Matched(of, waits) = paired else { panic!("{paired:?}") };
    assert_eq!((of.user_ids.join(" "), waits), ("ann bob".to_owned(), vec![7, 7]));
    for id in ["1", "2"] {
        let ticket = read(store, id).await;
        assert_eq!((ticket.state, ticket.of.as_ref()), (State::Matched, Some(&of)));
    }
    let refused = store.pair(pairing("n", &["3", "2"]), NOW).await.unwrap();
    assert_eq!(refused, Paired::Refused(vec!["2".into()]));
    assert_eq!(read(store, "3").await.state, State::Waiting);
    let refused = store.pair(pairing("n", &["3", "absent"]), NOW).await.unwrap();
    assert_eq!(refused, Paired::Refused(vec!["absent".into()]));
    made(store, &ticket("4", "joe", NOW + 5_000)).await;
    let late = store.pair(pairing("n", &["3", "4"]), NOW + 10_000).await.unwrap();
    assert_eq!(late, Paired::Refused(vec!["3".into()]), "its time is over");
}

async fn a_ticket_ends_once_whoever_is_first(store: &Store) {
    for n in 0..60 {
        made(store, &ticket(&format!("{n:02}"), &format!("user-{n}"), NOW)).await;
    }
    let mut tasks = JoinSet::new();
    for n in 0..60 {
        let (one, two) = (store.clone(), store.clone());
        let (id, next) = (format!("{n:02}"), format!("{:02}", (n + 1) % 60));
        let ids = [id.clone(), next];
        tasks.spawn(async move {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            drop(one.pair(pairing(&format!("m{n}"), &ids), NOW).await.unwrap());
        });
        tasks.spawn(async move {
            let owner = format!("user-{n}");
            let ended = two.end(&id, Some(&owner), End::Cancelled, NOW).await.unwrap().unwrap();
            let by_me = ended.ticket.state == State::Cancelled;
            assert_eq!(ended.changed, by_me, "{ended:?}");
        });
    }
    tasks.join_all().await;
    let ids: Vec<String> = (0..60).map(|n| format!("{n:02}")).collect();
    for ticket in store.get(&ids).await.unwrap() {
        assert_eq!(ticket.of.is_some(), ticket.state == State::Matched);
        assert!(matches!(ticket.state, State::Matched | State::Cancelled), "{ticket:?}");
        let again = store.end(&ticket.ticket_id, None, End::Gone, NOW).await.unwrap().unwrap();
        assert_eq!((again.changed, again.ticket), (false, ticket));
    }
    assert_eq!(store.end("00", Some("eve"), End::Cancelled, NOW).await.unwrap(), None);
    assert_eq!(store.end("absent", None, End::Cancelled, NOW).await.unwrap(), None);
}

async fn the_first_room_stays(store: &Store) {
    matched(store, "m", &["1", "2"], NOW).await;
    assert_eq!(store.roomless(None, NOW, 10).await.unwrap(), [], "not before its time");
    let roomless = store.roomless(None, NOW + 1, 10).await.unwrap();
    assert_eq!(roomless.iter().map(|of| of.match_id.as_str()).collect::<Vec<_>>(), ["m"]);
    let after = Some((NOW, "m".to_owned()));
    assert_eq!(store.roomless(after, NOW + 1, 10).await.unwrap(), []);
    for room in ["room", "another"] {
        let tickets = store.complete("m", room, NOW + 3).await.unwrap();
        assert_eq!(tickets.len(), 2);
        assert!(tickets.iter().all(|ticket| ticket.room_id() == Some("room")));
    }
    assert_eq!(store.roomless(None, i64::MAX, 10).await.unwrap(), []);
    assert_eq!(store.complete("absent", "room", NOW).await.unwrap(), []);
}

async fn of_many_rooms_at_once_one_stays(store: &Store) {
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let (one, two) = (format!("{n}-1"), format!("{n}-2"));
        matched(store, &format!("m{n}"), &[&one, &two], NOW).await;
    }
    for (n, room) in (0..8).flat_map(|n| (0..4).map(move |room| (n, room))) {
        let store = store.clone();
        tasks.spawn(async move {
            let (of, room) = (format!("m{n}"), format!("room-{n}-{room}"));
            let mut tickets = store.complete(&of, &room, NOW).await.unwrap();
            tickets.sort_by(|one, other| one.ticket_id.cmp(&other.ticket_id));
            let ids: Vec<&str> = tickets.iter().map(|it| it.ticket_id.as_str()).collect();
            assert_eq!(ids, [format!("{n}-1"), format!("{n}-2")]);
            (n, tickets.iter().map(|it| it.room_id().unwrap().to_owned()).collect::<Vec<_>>())
        });
    }
    let told = tasks.join_all().await;
    for n in 0..8 {
        let row = read(store, &format!("{n}-1")).await;
        let room = row.room_id().unwrap();
        let told = told.iter().filter(|(of, _)| *of == n).flat_map(|(_, rooms)| rooms);
        assert!(told.clone().all(|it| it == room) && told.count() == 8, "{n}: {room}");
    }
}

async fn a_match_stands_until_its_owner_was_told(store: &Store) {
    assert_eq!(store.active(POOL, "1", NOW).await.unwrap(), None);
    matched(store, "m", &["1", "2"], NOW).await;
    assert_eq!(store.active(POOL, "1", NOW).await.unwrap(), Some(read(store, "1").await));
    let wish = Ticket { content: content("other", &[]), ..ticket("3", "1", NOW) };
    let created = store.create(wish.clone(), NOW).await.unwrap();
    assert_eq!(created, Created::Existing(Box::new(read(store, "1").await)));
    made(store, &ticket("4", "eve", NOW)).await;
    store.told(vec!["1".into(), "4".into(), "absent".into()]).await.unwrap();
    assert!(!read(store, "4").await.told, "a waiting ticket has no outcome");
    made(store, &wish).await;
    let other = store.create(ticket("5", "2", NOW), NOW).await.unwrap();
    assert!(matches!(other, Created::Existing(_)), "each owner for themselves");
}

async fn a_lease_moves_only_on(store: &Store) {
    made(store, &leased(ticket("1", "ann", NOW))).await;
    for (until, expected) in [(NOW + 700, NOW + 700), (NOW + 600, NOW + 700)] {
        store.renew("1", until).await.unwrap();
        assert_eq!(read(store, "1").await.lease_until, Some(expected));
    }
    let early = store.end("1", None, End::Overdue, NOW + 699).await.unwrap().unwrap();
    assert!(!early.changed);
    let ended = store.end("1", None, End::Overdue, NOW + 700).await.unwrap().unwrap();
    assert_eq!((ended.changed, ended.ticket.state), (true, State::Expired));
}

async fn partners_are_remembered_newest_first(store: &Store) {
    for (n, partner) in ["bob", "carl", "dan"].into_iter().enumerate() {
        let at = NOW + n as i64;
        let (one, two) = (format!("a{n}"), format!("b{n}"));
        made(store, &ticket(&one, "ann", at)).await;
        made(store, &ticket(&two, partner, at)).await;
        store.pair(pairing(&format!("m{n}"), &[&one, &two]), at).await.unwrap();
        store.told(vec![one, two]).await.unwrap();
    }
    assert_eq!(store.partners(POOL, "ann", NOW).await.unwrap(), ["dan", "carl"]);
    assert_eq!(store.partners(POOL, "bob", 0).await.unwrap(), ["ann"]);
    assert!(store.partners("elsewhere", "ann", 0).await.unwrap().is_empty());
    let waits = store.recent_waits(POOL, NOW, 10).await.unwrap();
    let matches: Vec<&str> = waits.iter().map(|(id, _, _)| id.as_str()).collect();
    assert_eq!(matches, ["m1", "m1", "m2", "m2"], "oldest first");
}

async fn waiting_tickets_are_paged_by_age(store: &Store) {
    for (id, at) in [("d", 3), ("b", 1), ("c", 1), ("a", 2), ("e", 9)] {
        made(store, &ticket(id, id, at)).await;
    }
    store.end("a", None, End::Cancelled, 4).await.unwrap();
    let mut seen: Vec<String> = Vec::new();
    let mut after: Option<Position> = None;
    loop {
        let page = store.waiting(POOL, after.clone(), 9, 2).await.unwrap();
        seen.extend(page.iter().map(|it| it.ticket_id.to_string()));
        if page.len() < 2 {
            break;
        }
        after = page.last().cloned();
    }
    assert_eq!(seen, ["b", "c", "d"]);
}

async fn what_is_over_is_found(store: &Store) {
    made(store, &leased(ticket("x-leased", "bob", NOW + 5_000 - LEASE_MS))).await;
    made(store, &ticket("old", "ann", NOW)).await;
    made(store, &ticket("young", "eve", NOW + 2_000)).await;
    let overdue = async |now: i64, limit: u32| store.overdue(now, now, limit).await.unwrap();
    assert!(overdue(NOW + 4_999, 10).await.is_empty());
    assert_eq!(overdue(NOW + 5_000, 10).await, ["x-leased"]);
    assert_eq!(overdue(NOW + 10_000, 10).await, ["x-leased", "old"]);
    assert_eq!(overdue(NOW + 12_000, 2).await, ["x-leased", "old"]);
    assert_eq!(overdue(NOW + 12_000, 10).await.len(), 3);
    let spared = store.overdue(NOW + 10_000, NOW + 4_999, 10).await.unwrap();
    assert_eq!(spared, ["old"], "leases end by a time of their own");
}

async fn outcomes_that_nobody_took_are_found(store: &Store) {
    matched(store, "m", &["1", "2"], NOW).await;
    assert!(store.untold(POOL, i64::MAX, 10).await.unwrap().is_empty(), "there is no room yet");
    store.complete("m", "room", NOW + 10).await.unwrap();
    assert!(store.untold(POOL, NOW + 10, 10).await.unwrap().is_empty());
    store.told(vec!["1".into()]).await.unwrap();
    assert_eq!(store.untold(POOL, NOW + 11, 10).await.unwrap(), ["2"]);
}
