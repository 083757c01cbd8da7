//! What is told of users while Redis does not answer.

use std::time::Duration;

use mingle_presence::{
    domain::{Presence, Status},
    store::{Store, known::Known, redis::RedisStore},
};
use mingle_testkit::eventually;

use super::{Processes, ROOMY, socket};
use crate::harness::{
    servers::SOON,
    world::{NEVER_RESTS, TERMS, node},
};

#[tokio::test]
async fn users_are_unknown_with_what_was_known_last_until_it_answers() {
    let processes = Processes::start_within(1, ROOMY, Duration::from_millis(200)).await;
    let redis = processes.connections[0].clone();
    let store = Known::new(RedisStore::with_patience(redis, TERMS, ROOMY, NEVER_RESTS));
    store.register_node(node("a", 1)).await.unwrap();
    store.connect("a", socket("ann", 1, "socket")).await.unwrap();
    let asked = ["ann".to_owned(), "stranger".to_owned()];
    let before = store.get_many(&asked).await.unwrap();
    assert_eq!((before[0].status, before[1].status), (Some(Status::Online), None));
    let totals = store.count().await.unwrap();
    for kills in [false, true] {
        if kills {
            processes.server.kill()
        } else {
            processes.server.freeze()
        }
        let told = store.get_many(&asked).await.unwrap();
        let unknown = |it: &Presence| Presence { status: None, unknown: true, ..it.clone() };
        assert_eq!(told, before.iter().map(unknown).collect::<Vec<_>>());
        assert_eq!(store.count().await.unwrap(), totals);
        assert!(store.connect("a", socket("eve", 1, "socket")).await.unwrap_err().is_transient());
        if kills {
            processes.server.restart().await
        } else {
            processes.server.thaw()
        }
        eventually(SOON, "it answers again", async || {
            store.get_many(&asked).await.unwrap().iter().all(|it| !it.unknown)
        })
        .await;
    }
}
