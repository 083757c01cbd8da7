//! The answer to a write is lost: whoever lost a session by it is told.

use std::time::Duration;

use mingle_presence::{
    domain::Lost,
    store::{Connected, Store as _, Stored, redis::RedisStore},
};
use mingle_store::redis::{Options, Redis};
use tokio_util::sync::CancellationToken;

use super::{Processes, ROOMY, socket};
use crate::harness::{
    lossy::Lossy,
    servers::connected,
    world::{NEVER_RESTS, TERMS, accepted, lost, node},
};

/// What only the script that writes users has as its last key.
const WRITES: &str = ":due\r\n";

/// Another process of `processes`, on a way that loses answers.
async fn behind(processes: &Processes) -> (RedisStore, Lossy, Redis) {
    let server = &processes.server;
    let lossy = Lossy::start(server.address().to_string(), WRITES).await;
    let url = server.url_by(([127, 0, 0, 1], lossy.port).into());
    let options = Options { timeout: Duration::from_secs(10), ..Options::new(url) };
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    connected(&redis).await;
    let redis = redis.with_clock(processes.clock.clone());
    let store = RedisStore::with_patience(redis.clone(), TERMS, ROOMY, NEVER_RESTS);
    (store, lossy, redis)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_a_session_by_a_write_without_an_answer_is_told() {
    let processes = Processes::start(1, ROOMY).await;
    let (store, lossy, redis) = behind(&processes).await;
    for node_id in ["a", "b"] {
        store.register_node(node(node_id, 1)).await.unwrap();
    }
    for user in ["ann", "bob", "cat"] {
        assert_eq!(processes.connect(0, "a", socket(user, 1, "x")).await, accepted(true));
    }
    let nobody = Vec::<Lost>::new();
    let of = |generation| lost("a", "s", generation, "x");

    lossy.lose_one();
    let failed = store.connect("b", socket("ann", 2, "y")).await.unwrap_err();
    assert!(failed.is_transient() && lossy.lost() == 1, "{failed:?}");
    connected(&redis).await;
    // The retry finds what the first call did, and nobody who lost.
    assert_eq!(store.connect("b", socket("ann", 2, "y")).await.unwrap(), accepted(false));
    assert_eq!(store.lost().await.unwrap(), [of(1)]);
    assert_eq!(store.lost().await.unwrap(), nobody, "once");

    lossy.lose_one();
    let claims = vec![socket("bob", 2, "y"), socket("cat", 2, "y"), socket("dan", 1, "y")];
    let failed = store.register_sessions("b", claims.clone()).await.unwrap_err();
    assert!(failed.is_transient() && lossy.lost() == 2, "{failed:?}");
    connected(&redis).await;
    let again = store.register_sessions("b", claims).await.unwrap();
    let nothing = Stored::Done { superseded: vec![], lost: vec![], changed: vec![] };
    assert_eq!(again, nothing);
    assert_eq!(store.lost().await.unwrap(), [of(1), of(1)]);
    assert_eq!(store.lost().await.unwrap(), nobody, "dan took nobody's");

    // A resume that was refused: the holder holds.
    lossy.lose_one();
    store.connect("b", socket("eve", 3, "y")).await.unwrap_err();
    connected(&redis).await;
    let held = store.connect("a", socket("eve", 2, "x")).await.unwrap();
    assert_eq!(held, Connected::Held(3));
    assert_eq!(store.lost().await.unwrap(), nobody);
}

/// What did not happen is not told: the server has no room for the write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_the_session_still_is_not_told() {
    let processes = Processes::start(1, ROOMY).await;
    let store = &processes.stores[0];
    store.register_node(node("a", 1)).await.unwrap();
    store.connect("a", socket("ann", 1, "x")).await.unwrap();
    let _ = processes.server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    store.connect("a", socket("ann", 2, "y")).await.unwrap_err();
    let _ = processes.server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(store.lost().await.unwrap(), Vec::<Lost>::new());
    let taken = store.connect("a", socket("ann", 2, "y")).await.unwrap();
    let loser = Some(lost("a", "s", 1, "x"));
    assert_eq!(taken, Connected::Accepted { lost: loser, changed: false });
}
