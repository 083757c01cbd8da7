//! Claims of many processes.

use std::{collections::BTreeSet, sync::Arc};

use mingle_presence::{
    domain::Status,
    store::{Connected, Registered, Set, Store as _, Stored},
};
use tokio::sync::Barrier;

use super::{Processes, ROOMY, names, socket};
use crate::harness::world::{accepted, any, claim, node};

/// Of many sockets on two processes the last one holds each generation, and whoever
/// lost is named to exactly one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_holds_each_generation() {
    const SOCKETS: usize = 8;
    let processes = Processes::start(2, ROOMY).await;
    for (process, node_id) in ["a", "b"].into_iter().enumerate() {
        let registered = processes.stores[process].register_node(node(node_id, 1)).await.unwrap();
        assert_eq!(registered, Registered::Leased);
    }
    let mut holder = None;
    for generation in 1..=40 {
        let start = Arc::new(Barrier::new(SOCKETS));
        let sockets = (0..SOCKETS).map(|at| {
            let (store, start) = (processes.stores[at % 2].clone(), start.clone());
            tokio::spawn(async move {
                let node_id = if at % 4 < 2 { "a" } else { "b" };
                let offer = socket("ann", generation, &format!("{generation}/{at}"));
                start.wait().await;
                store.connect(node_id, offer).await.unwrap()
            })
        });
        let (mut losers, mut held, mut changes) = (BTreeSet::new(), 0, 0);
        for task in sockets.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Connected::Accepted { lost: loser, changed } => {
                    changes += usize::from(changed);
                    let loser = loser.map(|lost| lost.connection_id);
                    assert!(losers.insert(loser), "named to two of {generation}");
                }
                other => {
                    assert_eq!(other, Connected::Held(generation));
                    held += 1;
                }
            }
        }
        assert_eq!(losers.len() + held, SOCKETS);
        assert_eq!(changes, usize::from(generation == 1), "ann comes once");
        assert!(losers.contains(&holder), "who held {}: {losers:?}", generation - 1);
        let last = format!("{generation}/{}", SOCKETS - 1);
        let again = processes.stores[0].connect("b", socket("ann", generation, &last)).await;
        assert_eq!(again.unwrap(), accepted(false), "the last one holds {generation}");
        holder = Some(last);
    }
    processes.assert_counters_are_right(&["ann".to_owned()]).await;
}

/// Whatever two processes do at once to the same users, the counters are what
/// counting gives, and what nobody needs is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_what_counting_gives() {
    let processes = Processes::start(2, ROOMY).await;
    processes.stores[0].register_node(node("a", 1)).await.unwrap();
    let users = names(12);
    let tasks = (0..8_u64).map(|task| {
        let (store, users) = (processes.stores[task as usize % 2].clone(), users.clone());
        tokio::spawn(async move {
            for step in 0..60_u64 {
                let user = &users[((step * 7 + step / 3 + task * 3) % 12) as usize];
                let session = format!("s{}", (step / 5 + task) % 4);
                let generation = 1 + step / 4;
                match step % 3 {
                    0 | 1 => {
                        let offer = claim(user, &session, generation, &format!("{task}/{step}"));
                        store.connect("a", offer).await.unwrap();
                    }
                    _ if task % 2 == 0 => {
                        let _ = store.disconnect(user, &session, any(generation)).await.unwrap();
                    }
                    _ => drop(store.set_status(user, &session, Status::Busy).await.unwrap()),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(processes.counters()["sessions"] > 12, "several each");
    processes.assert_counters_are_right(&users).await;

    close_all(&processes, &users).await;
    processes.assert_counters_are_right(&users).await;
    for _ in 0..10 {
        processes.clock.advance(1_000);
        assert!(processes.stores[1].renew_node("a", 1).await.unwrap());
    }
    let mut changed = Vec::new();
    for _ in 0..64 {
        changed.extend(processes.stores[0].sweep().await.unwrap());
    }
    changed.sort_unstable();
    changed.dedup();
    assert_eq!(changed.len(), users.len());
    processes.assert_counters_are_right(&users).await;
    assert!(processes.counters().is_empty());
    assert_eq!(processes.keys("*:due"), Vec::<String>::new());
}

/// Closes whatever socket there may be; after the grace nothing is left but who
/// was seen when.
async fn close_all(processes: &Processes, users: &[String]) {
    for user in users {
        for session in 0..4 {
            for generation in 1..=15 {
                let session = format!("s{session}");
                processes.stores[1].disconnect(user, &session, any(generation)).await.unwrap();
            }
        }
    }
}

/// What one process registered the other knows at once where it matters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_is_known_to_the_other_process() {
    let processes = Processes::start(2, ROOMY).await;
    let [one, other] = [&processes.stores[0], &processes.stores[1]];
    one.register_node(node("a", 1)).await.unwrap();
    assert_eq!(processes.connect(1, "a", socket("ann", 1, "x")).await, accepted(true));
    // The other has just read the table: no time passed since.
    one.register_node(node("a", 2)).await.unwrap();
    assert_eq!(processes.connect(1, "a", socket("bob", 1, "y")).await, accepted(true));
    let held = vec![socket("ann", 1, "x")];
    let stored = other.register_sessions("a", held).await.unwrap();
    let nothing = Stored::Done { superseded: vec![], lost: vec![], changed: vec![] };
    assert_eq!(stored, nothing);
    for _ in 0..20 {
        processes.clock.advance(1_000);
        assert!(other.renew_node("a", 2).await.unwrap());
        assert!(!one.renew_node("a", 1).await.unwrap());
    }
    for user in ["ann", "bob"] {
        let read = one.get_many(&[user.to_owned()]).await.unwrap();
        assert_eq!((read[0].status, read[0].sessions), (Some(Status::Online), 1), "{user}");
    }
    // Renewed by the other, which this one's table does not know yet.
    processes.clock.advance(12_999);
    assert_eq!(one.get_many(&["ann".to_owned()]).await.unwrap()[0].sessions, 0);
    assert!(other.renew_node("a", 2).await.unwrap());
    processes.clock.advance(1);
    let set = one.set_status("ann", "s", Status::Busy).await.unwrap();
    assert_eq!(set, Set::Done(true), "its session is not dropped by what was");
}
