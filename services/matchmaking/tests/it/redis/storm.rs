//! The index while its connections are killed: each reply may be lost.

use std::{collections::BTreeSet, sync::Arc};

use mingle_matchmaking::{
    domain::{Entry, Position, Proposal},
    store::{Index, Span, redis::RedisIndex},
};
use mingle_store::clock::ManualClock;
use mingle_testkit::{Redis as Server, eventually};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::connect;
use crate::{
    queue::{content, entry, pool},
    world::PATIENCE,
};

const POOL: &str = "test";
const TICKETS: i64 = 2_000;
const TASKS: i64 = 16;

#[derive(Default)]
struct Told {
    proposed: Vec<Position>,
    lost: usize,
}

impl Told {
    fn note(&mut self, proposals: impl IntoIterator<Item = Proposal>) {
        let entries = proposals.into_iter().flat_map(|it| it.entries);
        self.proposed.extend(entries.map(|it| it.position));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_proposed_twice_and_who_was_lost_is_found_by_the_rows() {
    let server = Arc::new(Server::start().await);
    let clock = Arc::new(ManualClock::at(TICKETS));
    let pool = pool(true);
    let redis = connect(&server).await.with_clock(clock.clone());
    let index = Arc::new(RedisIndex::new(redis, &[(POOL.to_owned(), pool.clone())].into(), clock));
    let told = Arc::new(Mutex::new(Told::default()));
    let any = pool.bucket(&content("f", &[])).unwrap();
    let all: Vec<Entry> =
        (0..TICKETS).map(|n| entry(&format!("t{n}"), &format!("u{n}"), any, n)).collect();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (index, told) = (index.clone(), told.clone());
        let mine: Vec<Entry> =
            all.iter().filter(|it| it.position.created_at % TASKS == task).cloned().collect();
        tasks.spawn(async move {
            for entry in mine {
                match index.enqueue(POOL, entry, TICKETS).await {
                    Ok(proposal) => told.lock().note(proposal),
                    Err(error) => {
                        assert!(error.is_transient(), "{error:?}");
                        told.lock().lost += 1;
                    }
                }
            }
        });
    }
    let done = tokio::spawn(tasks.join_all());
    while !done.is_finished() {
        let server = server.clone();
        let kill = move || server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        tokio::task::spawn_blocking(kill).await.unwrap();
    }
    done.await.unwrap();
    let lost = told.lock().lost;
    assert!(lost > 0, "no reply was ever lost");
    once_each(&told.lock().proposed);
    // The rows: all wait who were not told to be proposed.
    let proposed: BTreeSet<Position> = told.lock().proposed.iter().cloned().collect();
    let truth: Vec<Position> =
        all.iter().map(|it| it.position.clone()).filter(|it| !proposed.contains(it)).collect();
    let end = Position { created_at: TICKETS, ticket_id: "".into() };
    let span = Span { from: None, to: end, truth: truth.clone() };
    let missing = eventually(PATIENCE, "a connection that lives", async || {
        let missing = index.reconcile(POOL, span.clone()).await.ok();
        index.len(POOL).await.ok().and(missing)
    })
    .await;
    assert!(!missing.is_empty(), "{lost} errors, and nobody was lost");
    let found = all.iter().filter(|it| missing.contains(&it.position)).cloned().collect();
    index.put(POOL, found).await.unwrap();
    assert_eq!(index.len(POOL).await.unwrap(), truth.len() as u64);
    let left_over = index.leftovers(POOL, TICKETS, all.len()).await.unwrap();
    told.lock().note(left_over);
    once_each(&told.lock().proposed);
    assert_eq!(told.lock().proposed.len(), all.len(), "everybody");
}

fn once_each(proposed: &[Position]) {
    assert_eq!(proposed.iter().collect::<BTreeSet<_>>().len(), proposed.len(), "proposed twice");
}
