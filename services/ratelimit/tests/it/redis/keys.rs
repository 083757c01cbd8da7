//! What is in the server.

use mingle_ratelimit::store::{Store as _, redis::RedisStore};
use mingle_testkit::Redis as Server;

use crate::world::{ask, config, connect, refund};

const REMEMBER_US: u64 = 900_000_000;

fn keys(server: &Server) -> Vec<String> {
    let keys = server.cli(&["KEYS", "mingle:{rl:*"]);
    let mut keys: Vec<_> = keys.lines().filter(|key| !key.is_empty()).map(str::to_owned).collect();
    keys.sort();
    keys
}

/// Each key, and the hash of what the server would write of it to disk.
fn dump(server: &Server) -> Vec<(String, String)> {
    const DUMP: &str = "return redis.sha1hex(redis.call('DUMP', ARGV[1]))";
    let dumped = |key: String| {
        let hash = server.cli(&["EVAL", DUMP, "0", &key]);
        (key, hash)
    };
    keys(server).into_iter().map(dumped).collect()
}

#[tokio::test]
async fn a_denied_call_leaves_every_key_as_it_was() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let limits = config().limits();
    let store = RedisStore::new(redis, REMEMBER_US);
    for id in ["a", "b", "c"] {
        let all = ["three", "ten", "paced", "thousand", "watched"];
        store.check(&[ask(&limits, "ann", id, 1, &all)]).await.remove(0).unwrap();
    }
    let before = dump(&server);
    assert_eq!(before.len(), 5 + 3, "{before:?}");
    for n in 0..50 {
        let of = [&["three"][..], &["ten", "three", "paced"], &["watched", "three"]][n % 3];
        let ask = ask(&limits, "ann", &format!("denied {n}"), 1, of);
        let answer = store.check(std::slice::from_ref(&ask)).await.remove(0).unwrap();
        assert!(!answer.verdict.is_allowed());
        store.peek(&ask).await.unwrap();
        assert!(!refund(&store, "ann", &ask.charge_id, false).await.unwrap());
    }
    assert_eq!(dump(&server), before);
}

#[tokio::test]
async fn every_key_ends_and_is_of_the_slot_of_its_subject() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let limits = config().limits();
    let store = RedisStore::new(redis, REMEMBER_US);
    let long = "}{".repeat(512);
    for subject in ["ann", &long] {
        for id in ["a", &long] {
            let of = ["three", "ten", "paced"];
            let answer = store.check(&[ask(&limits, subject, id, 1, &of)]).await.remove(0);
            assert!(answer.unwrap().verdict.is_allowed());
        }
    }
    let keys = keys(&server);
    assert_eq!(keys.len(), 2 * (3 + 2), "{keys:?}");
    let mut tags: Vec<_> = keys.iter().map(|key| key.split(['{', '}']).nth(1).unwrap()).collect();
    tags.dedup();
    assert_eq!(tags.len(), 2, "{keys:?}");
    for key in &keys {
        assert!(key.len() < 70, "{key}");
        let ttl: i64 = server.cli(&["PTTL", key]).parse().unwrap();
        assert!((1..=900_000).contains(&ttl), "{key} ends in {ttl} ms");
        println!("{key}: {} bytes", server.cli(&["MEMORY", "USAGE", key]));
    }
    refund(&store, "ann", "a", false).await.unwrap();
    refund(&store, "ann", &long, false).await.unwrap();
    let left = self::keys(&server);
    assert_eq!(left.len(), 3 + 2, "what counts nothing is gone: {left:?}");
}
