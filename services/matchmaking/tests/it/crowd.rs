//! A thousand users join and cancel from many tasks; what happened is counted
//! in the file, not by the service.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mingle_proto::matchmaking::v1::{Ticket, TicketState};
use mingle_testkit::eventually;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use sqlx::SqlitePool;
use tokio::task::JoinSet;

use crate::world::{Client, PATIENCE, World, cancel, get, request};

const USERS: u64 = 1_000;
const GENDERS: [&str; 3] = ["female", "male", "other"];

/// What one user asked for and was answered.
#[derive(Default)]
struct Diary {
    /// Gender and wanted genders of each ticket.
    asked: BTreeMap<String, (&'static str, Vec<&'static str>)>,
    /// The state that a cancel was answered with.
    cancelled: BTreeMap<String, TicketState>,
}

/// Joins, mostly changes their mind after a while, and joins again, until
/// matched or tired.
async fn stranger(client: Client, user: u64) -> Diary {
    let mut rng = StdRng::seed_from_u64(user);
    let mut diary = Diary::default();
    let name = format!("user-{user:04}");
    for _ in 0..4 {
        let gender = *GENDERS.choose(&mut rng).unwrap();
        let mut wants: Vec<&str> = GENDERS.into_iter().filter(|_| rng.random_bool(0.5)).collect();
        wants.sort_unstable();
        let wish = request(&name, gender, &wants);
        let ticket: Ticket =
            client.clone().create_ticket(wish).await.unwrap().into_inner().ticket.unwrap();
        diary.asked.insert(ticket.ticket_id.clone(), (gender, wants));
        if rng.random_bool(0.3) {
            return diary;
        }
        for _ in 0..rng.random_range(0..4) {
            get(&client, &name, &ticket.ticket_id, 0).await.unwrap();
        }
        let ended = cancel(&client, &name, &ticket.ticket_id).await.unwrap().state();
        diary.cancelled.insert(ticket.ticket_id, ended);
        if ended == TicketState::Matched {
            return diary;
        }
    }
    diary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_joins_and_cancels() {
    let mut world = World::new().await;
    let mut tasks = JoinSet::new();
    for user in 0..USERS {
        tasks.spawn(stranger(world.client.clone(), user));
    }
    let diaries = tokio::spawn(tasks.join_all());
    // The sweep is part of the crowd: it proposes and rebuilds all the while.
    while !diaries.is_finished() {
        world.pass(20).await;
        tokio::task::yield_now().await;
    }
    let diaries = diaries.await.unwrap();
    let sql = world.sql().await;
    eventually(PATIENCE, "every match to have its room", async || {
        world.pass(1_001).await;
        count(&sql, "select count(*) from mm_matches where room_id is null").await == 0
    })
    .await;
    let matches = matches(&sql).await;
    assert!(matches.len() > 100, "{} matches", matches.len());
    each_ticket_ended_as_its_owner_was_told(&sql, &diaries).await;
    nobody_is_in_two_matches(&sql, &matches).await;
    each_pair_accepts_each_other(&matches, &diaries);
    let rooms: BTreeSet<String> = world.around.chat.rooms().into_keys().collect();
    assert_eq!(rooms, matches.keys().cloned().collect(), "one room per match");
    let distinct = "select count(distinct room_id) from mm_matches";
    assert_eq!(count(&sql, distinct).await, matches.len() as i64);
}

/// The tickets of each match.
async fn matches(sql: &SqlitePool) -> BTreeMap<String, Vec<String>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select match_id, ticket_ids from mm_matches").fetch_all(sql).await.unwrap();
    rows.into_iter().map(|(id, tickets)| (id, serde_json::from_str(&tickets).unwrap())).collect()
}

async fn each_ticket_ended_as_its_owner_was_told(sql: &SqlitePool, diaries: &[Diary]) {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select ticket_id, state from mm_tickets").fetch_all(sql).await.unwrap();
    let states: HashMap<String, String> = rows.into_iter().collect();
    let asked: usize = diaries.iter().map(|diary| diary.asked.len()).sum();
    assert_eq!(states.len(), asked, "one row per ticket");
    let (mut won, mut lost) = (0, 0);
    for (ticket_id, told) in diaries.iter().flat_map(|diary| &diary.cancelled) {
        match told {
            TicketState::Cancelled => {
                won += 1;
                assert_eq!(states[ticket_id], "cancelled");
            }
            TicketState::Matched => {
                lost += 1;
                assert_eq!(states[ticket_id], "matched");
            }
            other => panic!("a cancel was answered {other:?}"),
        }
    }
    assert!(won > 0 && lost > 0, "cancels that won: {won}, that lost: {lost}");
    let ended = "select count(*) from mm_tickets where (state = 'waiting') <> (ended_at is null)";
    assert_eq!(count(sql, ended).await, 0);
}

async fn nobody_is_in_two_matches(sql: &SqlitePool, matches: &BTreeMap<String, Vec<String>>) {
    let members = matches.values().flatten().count();
    assert_eq!(members, 2 * matches.len());
    for column in ["ticket_ids", "user_ids"] {
        let distinct =
            format!("select count(distinct value) from mm_matches, json_each(mm_matches.{column})");
        assert_eq!(count(sql, &distinct).await, members as i64, "{column}");
    }
    let agree = "select count(*) from mm_tickets t join mm_matches m on m.match_id = t.match_id
                 where t.state = 'matched'
                   and t.ticket_id in (select value from json_each(m.ticket_ids))
                   and t.user_id in (select value from json_each(m.user_ids))";
    assert_eq!(count(sql, agree).await, members as i64, "rows and matches agree");
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    assert_eq!(count(sql, matched).await, members as i64);
}

/// By what the users asked for, not by what was stored.
fn each_pair_accepts_each_other(matches: &BTreeMap<String, Vec<String>>, diaries: &[Diary]) {
    let asked: HashMap<_, _> = diaries.iter().flat_map(|diary| &diary.asked).collect();
    for tickets in matches.values() {
        let (one, other) = (asked[&tickets[0]], asked[&tickets[1]]);
        for (who, whom) in [(one, other), (other, one)] {
            assert!(who.1.is_empty() || who.1.contains(&whom.0), "{one:?} and {other:?}");
        }
    }
}

async fn count(sql: &SqlitePool, query: &str) -> i64 {
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()));
    query.fetch_one(sql).await.unwrap()
}
