//! Who sweeps, and what is left when it dies.

use mingle_presence::{
    domain::partition,
    store::{Store as _, redis::RedisStore},
};
use mingle_testkit::eventually;

use super::{Processes, names, socket};
use crate::harness::{
    servers::SOON,
    world::{LIMITS, node},
};

const USERS: usize = 200;

async fn with_users_of_a_dead_node() -> (Processes, Vec<String>) {
    let processes = Processes::start(2, LIMITS).await;
    processes.stores[0].register_node(node("a", 1)).await.unwrap();
    let mut users = names(USERS);
    let claims = users.iter().map(|user| socket(user, 1, "x")).collect();
    processes.stores[0].register_sessions("a", claims).await.unwrap();
    processes.clock.advance(13_000 + 1_000);
    users.sort_unstable();
    (processes, users)
}

/// Each change is answered once, however many ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_sweeps() {
    let (processes, users) = with_users_of_a_dead_node().await;
    let sweeps = async |store: &RedisStore| {
        let mut changed = Vec::new();
        for _ in 0..100 {
            changed.extend(store.sweep().await.unwrap());
        }
        changed
    };
    let (one, other) = tokio::join!(sweeps(&processes.stores[0]), sweeps(&processes.stores[1]));
    assert!(one.is_empty() || other.is_empty(), "{} and {}", one.len(), other.len());
    let mut changed = [one, other].concat();
    changed.sort_unstable();
    assert_eq!(changed, users);
    processes.assert_counters_are_right(&users).await;
}

/// A process that dies in the middle of its walk is followed by another, which
/// finds the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_goes_on_when_the_sweeper_is_gone() {
    let (mut processes, users) = with_users_of_a_dead_node().await;
    let mut changed = Vec::new();
    for _ in 0..4 {
        changed.extend(processes.stores[0].sweep().await.unwrap());
    }
    assert!((1..USERS).contains(&changed.len()), "in the middle: {}", changed.len());
    assert!(processes.stores[1].sweep().await.unwrap().is_empty(), "the first leads");
    drop((processes.stores.remove(0), processes.connections.remove(0)));
    let found = tokio::sync::Mutex::new(changed);
    eventually(SOON, "the rest", async || {
        let mut found = found.lock().await;
        found.extend(processes.stores[0].sweep().await.unwrap());
        found.len() >= USERS
    })
    .await;
    let mut found = found.into_inner();
    found.extend(processes.stores[0].sweep().await.unwrap());
    found.sort_unstable();
    assert_eq!(found, users);
    processes.assert_counters_are_right(&users).await;
}

/// One user who cannot be written keeps nobody else from being told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_fails_does_not_swallow_the_others() {
    let (processes, mut users) = with_users_of_a_dead_node().await;
    let failing = partition(&users[USERS / 2]);
    let counters = processes.keys(&format!("*{{p:{failing}}}:*:c"));
    assert!(processes.server.cli(&["HSET", &counters[0], "users", "many"]).starts_with('0'));
    users.retain(|user| partition(user) != failing);
    let mut changed = Vec::new();
    for _ in 0..64 {
        // What was found is answered before the failure is.
        changed.extend(processes.stores[0].sweep().await.unwrap_or_default());
    }
    users.retain(|user| !changed.contains(user));
    assert_eq!(users, Vec::<String>::new(), "swallowed");
}
