//! Two processes write the same rows at the same time, each through its own
//! lane and connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mingle_matchmaking::{
    domain::{Content, Liveness, State, Ticket},
    store::{Created, End, Paired, Pairing, Tickets, sql::SqlTickets},
};
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::task::JoinSet;

use super::{Site, postgres};
use crate::world::POOL;

const USERS: usize = 300;
const TASKS: u64 = 64;
const ROUNDS: usize = 60;
/// Everybody is after the newest tickets and matches.
const NEWEST: usize = 12;
const NOW: i64 = 1_000_000;

/// What all tasks know of each other's tickets, and what went wrong.
#[derive(Default)]
struct Known {
    tickets: Mutex<Vec<String>>,
    matches: Mutex<Vec<String>>,
    made: AtomicUsize,
    refused: AtomicUsize,
    cancelled: AtomicUsize,
}

fn ticket(user: usize, rng: &mut StdRng) -> Ticket {
    Ticket {
        ticket_id: uuid::Builder::from_random_bytes(rng.random()).into_uuid().to_string(),
        user_id: format!("user-{user}"),
        pool: POOL.into(),
        content: Content::default(),
        state: State::Waiting,
        liveness: Liveness::Presence,
        lease_until: None,
        created_at: NOW,
        expires_at: NOW + 600_000,
        ended_at: None,
        of: None,
        told: false,
    }
}

fn pick(list: &Mutex<Vec<String>>, rng: &mut StdRng) -> Option<String> {
    let list = list.lock();
    list[list.len().saturating_sub(NEWEST)..].choose(rng).cloned()
}

/// Any error that a caller sees fails the test.
async fn rival(rows: Arc<SqlTickets>, known: Arc<Known>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..ROUNDS {
        let now = NOW + round as i64;
        match rng.random_range(0..10) {
            0..4 => {
                let wish = ticket(rng.random_range(0..USERS), &mut rng);
                let made = rows.create(wish.clone(), now).await.unwrap();
                if let Created::New { .. } = made {
                    known.tickets.lock().push(wish.ticket_id);
                }
            }
            4 => {
                let Some(id) = pick(&known.tickets, &mut rng) else { continue };
                let ended = rows.end(&id, None, End::Cancelled, now).await.unwrap();
                known.cancelled.fetch_add(usize::from(ended.unwrap().changed), Ordering::Relaxed);
            }
            5..9 => {
                let ids = [pick(&known.tickets, &mut rng), pick(&known.tickets, &mut rng)];
                let [Some(one), Some(other)] = ids else { continue };
                if one != other {
                    pair(&rows, &known, vec![one, other], now).await;
                }
            }
            _ => {
                let Some(id) = pick(&known.matches, &mut rng) else { continue };
                let room = format!("room-{seed}-{round}");
                let tickets = rows.complete(&id, &room, now).await.unwrap();
                let ids: Vec<String> = tickets.into_iter().map(|it| it.ticket_id).collect();
                assert_eq!(ids.len(), 2);
                rows.told(ids.clone()).await.unwrap();
            }
        }
    }
}

async fn pair(rows: &SqlTickets, known: &Known, ticket_ids: Vec<String>, now: i64) {
    let match_id = uuid::Uuid::new_v4().to_string();
    let pairing = Pairing { match_id: match_id.clone(), pool: POOL.into(), ticket_ids };
    match rows.pair(pairing.clone(), now).await.unwrap() {
        Paired::Matched(..) => {
            known.made.fetch_add(1, Ordering::Relaxed);
            known.matches.lock().push(match_id);
        }
        Paired::Refused(_) => {
            known.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_write_the_same_rows() {
    let site = Site::new().await;
    let (mut both, mut databases) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let database = postgres(&site.database.url).await;
        databases.push(database.clone());
        both.push(Arc::new(SqlTickets::open(database.into()).await.unwrap()));
    }
    let known = Arc::new(Known::default());
    let mut tasks = JoinSet::new();
    for seed in 0..TASKS {
        let rows = both[seed as usize % both.len()].clone();
        tasks.spawn(rival(rows, known.clone(), seed));
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    let (made, refused) = (count(&known.made), count(&known.refused));
    assert!(made > 50 && refused > 50, "{made} matches, {refused} refused");
    assert!(count(&known.cancelled) > 5);
    // A session tells what it counted when it ends, at the latest.
    for database in databases {
        database.close().await;
    }
    // Whatever PostgreSQL broke was tried again, and no caller saw it.
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    let broken = site.count(deadlocks).await;
    eprintln!("{made} matches, {refused} refused, {broken} deadlocks broken");
    let rows = [
        ("select count(*) from mm_matches", made),
        ("select count(*) from mm_tickets where state = 'matched'", 2 * made),
        ("select count(*) from mm_tickets where state = 'cancelled'", count(&known.cancelled)),
        ("select count(*) from mm_tickets", known.tickets.lock().len()),
        (
            "select count(distinct id) from mm_matches, json_array_elements_text(ticket_ids::json) id",
            2 * made,
        ),
        (
            "select count(*) from mm_tickets t join mm_matches m using (match_id)
             where m.ticket_ids::jsonb ? t.ticket_id and m.user_ids::jsonb ? t.user_id",
            2 * made,
        ),
        ("select count(*) from mm_tickets where (state = 'waiting') <> (ended_at is null)", 0),
        (
            "select count(*) from (select 1 from mm_tickets where state = 'waiting'
             group by pool, user_id having count(*) > 1) twice",
            0,
        ),
    ];
    for (statement, expected) in rows {
        assert_eq!(site.count(statement).await, expected, "{statement}");
    }
}
