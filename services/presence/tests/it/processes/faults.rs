//! Killed connections, a frozen server, a restart without data.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mingle_presence::{
    domain::Status,
    store::{Connected, Registered, Store as _, Stored, redis::RedisStore},
};
use mingle_testkit::eventually;

use super::{Processes, ROOMY, names, socket};
use crate::harness::{
    servers::{SOON, connected},
    world::node,
};

/// Connects until it is answered, as a gateway does. Counts what failed.
async fn insist(store: &RedisStore, user: &str, generation: u64, failed: &AtomicUsize) {
    let mut again = false;
    loop {
        let connection = format!("socket {generation}");
        match store.connect("a", socket(user, generation, &connection)).await {
            // What was told before is what is superseded now.
            Ok(Connected::Accepted { lost: Some(lost), .. }) => {
                assert_eq!(lost.generation, generation - 1, "{user}");
                return;
            }
            // The first, or a retry of what was done.
            Ok(Connected::Accepted { lost: None, .. }) => {
                assert!(generation == 1 || again, "{user}: nobody had {generation} - 1");
                return;
            }
            Ok(other) => panic!("{user}: {other:?}"),
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                failed.fetch_add(1, Ordering::Relaxed);
                again = true;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Sockets that come while something happens to the server, on both processes.
/// How many calls failed, and the generation that each user was told last.
async fn under(
    processes: &Processes,
    users: &[String],
    happens: impl AsyncFn(),
) -> (usize, Vec<(String, u64)>) {
    let failed = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let tasks = users.chunks(users.len().div_ceil(8)).enumerate().map(|(task, users)| {
        let (store, users) = (processes.stores[task % 2].clone(), users.to_vec());
        let (failed, done) = (failed.clone(), done.clone());
        tokio::spawn(async move {
            for generation in 1.. {
                for user in &users {
                    insist(&store, user, generation, &failed).await;
                }
                if done.load(Ordering::Relaxed) > 0 {
                    return users.into_iter().map(|user| (user, generation)).collect::<Vec<_>>();
                }
            }
            unreachable!("generations do not end")
        })
    });
    let tasks: Vec<_> = tasks.collect();
    happens().await;
    done.store(1, Ordering::Relaxed);
    let mut told = Vec::new();
    for task in tasks {
        told.extend(task.await.unwrap());
    }
    (failed.load(Ordering::Relaxed), told)
}

/// Every user is online by one session, the one that was told, and counted
/// once.
async fn assert_all_are_there_once(processes: &Processes, told: Vec<(String, u64)>) {
    for (user, generation) in &told {
        let other = processes.connect(0, "a", socket(user, *generation, "other")).await;
        assert_eq!(other, Connected::Held(*generation), "{user}");
    }
    let users = &told.into_iter().map(|(user, _)| user).collect::<Vec<_>>();
    for presence in processes.stores[0].get_many(users).await.unwrap() {
        assert_eq!((presence.status, presence.sessions), (Some(Status::Online), 1));
    }
    let counters = processes.counters();
    assert_eq!(counters["sessions"], users.len() as i64, "{counters:?}");
    processes.assert_counters_are_right(users).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_cost_a_retry_and_nothing_else() {
    let processes = Processes::start(2, ROOMY).await;
    processes.stores[0].register_node(node("a", 1)).await.unwrap();
    let users = names(40);
    let (failed, told) = under(&processes, &users, async || {
        for _ in 0..30 {
            let _ = processes.server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
            eventually(SOON, "connections", async || {
                processes.connections.iter().all(mingle_store::redis::Redis::is_connected)
            })
            .await;
        }
    })
    .await;
    assert!(failed > 0, "no kill was ever felt");
    assert_all_are_there_once(&processes, told).await;
}

/// What was sent to a server that was frozen is executed when it wakes: then
/// it is late, or finds what the retry wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_commands_change_nothing() {
    let processes = Processes::start_within(2, ROOMY, Duration::from_millis(200)).await;
    processes.stores[0].register_node(node("a", 1)).await.unwrap();
    let users = names(40);
    let (failed, told) = under(&processes, &users, async || {
        for _ in 0..5 {
            processes.server.freeze();
            // Commands wait that are too late by the time it wakes.
            eventually(SOON, "the loss of a server that is silent", async || {
                processes.connections.iter().any(|redis| !redis.is_connected())
            })
            .await;
            processes.server.thaw();
            for redis in &processes.connections {
                connected(redis).await;
            }
        }
    })
    .await;
    let refused = processes.server.cli(&["INFO", "errorstats"]);
    assert!(failed > 0 && refused.contains("errorstat_LATE:count="), "{failed} {refused}");
    assert_all_are_there_once(&processes, told).await;
}

/// A server without its data, and one that cannot tell whether it has all of
/// it: nothing from before is read, nodes and sessions register again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_begins_cold() {
    let processes = Processes::start(2, ROOMY).await;
    let users = names(30);
    for (round, data) in ["none", "kept"].into_iter().enumerate() {
        let register = async || {
            let registered = processes.stores[0].register_node(node("a", 1)).await.unwrap();
            assert_eq!(registered, Registered::Leased);
            let claims = users.iter().map(|user| socket(user, 1, "x")).collect();
            processes.stores[1].register_sessions("a", claims).await.unwrap()
        };
        let stored = register().await;
        let all_came = |stored| matches!(stored, Stored::Done { changed, .. } if changed == users);
        assert!(all_came(stored), "{data}");
        let before = processes.connections[0].fence().borrow().clone();

        if round == 0 {
            processes.server.restart_empty().await;
        } else {
            processes.server.restart().await;
        }
        for redis in &processes.connections {
            let mut fence = redis.fence();
            let next = fence.wait_for(|now| *now != before);
            tokio::time::timeout(SOON, next).await.expect("a new generation").unwrap();
            connected(redis).await;
        }
        assert!(!processes.stores[1].renew_node("a", 1).await.unwrap(), "{data}");
        let connected = processes.connect(0, "a", socket("u1", 2, "y")).await;
        assert_eq!(connected, Connected::UnknownNode, "{data}");
        let read = processes.stores[0].get_many(&users).await.unwrap();
        assert!(read.iter().all(|presence| presence.status.is_none()), "{data}");
        assert_eq!(processes.stores[0].count().await.unwrap().users, 0, "{data}");
        assert!(all_came(register().await), "{data}");
        assert_eq!(processes.stores[1].count().await.unwrap().users, 30, "{data}");
        processes.clock.advance(14_000);
        for _ in 0..64 {
            processes.stores[0].sweep().await.unwrap();
            processes.stores[1].sweep().await.unwrap();
        }
    }
}

/// When somebody was last seen no restart makes wrong: it is kept with the
/// data, and once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_last_seen_when_survives_a_restart_with_the_data() {
    let processes = Processes::start(1, ROOMY).await;
    let store = &processes.stores[0];
    let ann = ["ann".to_owned()];
    for restart in 1..=2 {
        store.register_node(node("a", 1)).await.unwrap();
        store.connect("a", socket("ann", 1, "x")).await.unwrap();
        processes.clock.advance(14_000);
        eventually(SOON, "ann to be offline", async || store.sweep().await.unwrap() == ann).await;
        let before = store.get_many(&ann).await.unwrap();
        assert!(before[0].last_seen.is_some());
        let fence = processes.connections[0].fence().borrow().clone();
        processes.server.restart().await;
        let mut next = processes.connections[0].fence();
        let next = next.wait_for(|now| *now != fence);
        tokio::time::timeout(SOON, next).await.expect("a new generation").unwrap();
        connected(&processes.connections[0]).await;
        assert_eq!(store.get_many(&ann).await.unwrap(), before, "{restart}");
        assert_eq!(processes.keys("*{p:seen:*").len(), 1, "{restart}");
    }
}
