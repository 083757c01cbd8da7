//! A server that evicts takes one key of the index and leaves the others.

use std::sync::Arc;

use mingle_matchmaking::{
    domain::{Entry, Pool, Position},
    store::{Index as _, Span, redis::RedisIndex},
};
use mingle_store::clock::ManualClock;
use mingle_testkit::Redis as Server;

use super::connect;
use crate::queue::{content, entry, pool};

const POOL: &str = "test";
/// Eve was silent for longer than this pool allows, ann was there just now.
const NOW: i64 = 11_000;

fn of(pool: &Pool, user: &str, gender: &str, wants: &[&str], at: i64) -> Entry {
    entry(user, user, pool.bucket(&content(gender, wants)).unwrap(), at)
}

/// Whoever waits is found again from the rows, and nobody's search fails.
#[tokio::test]
async fn whatever_key_is_gone_who_waits_is_found_again() {
    for gone in ["e", "w", "b*", "p", "s"] {
        let (server, pool) = (Server::start().await, pool(true));
        let clock = Arc::new(ManualClock::at(NOW));
        let redis = connect(&server).await.with_clock(clock.clone());
        let index = RedisIndex::new(redis, &[(POOL.to_owned(), pool.clone())].into(), clock);
        let mut waiting =
            vec![of(&pool, "eve", "f", &["m"], 1), of(&pool, "ann", "f", &["m"], NOW)];
        waiting[0].spared_until = 5;
        index.put(POOL, waiting.clone()).await.unwrap();
        assert_eq!(index.leftovers(POOL, NOW, 10).await.unwrap(), []);
        let silent = [("eve".to_owned(), "eve".to_owned())];
        assert_eq!(index.silent(POOL, NOW, 10).await.unwrap(), silent);

        let keys = server.cli(&["KEYS", &format!("*:{gone}")]);
        for key in keys.lines() {
            let _ = server.cli(&["DEL", key]);
        }
        let mut met = Vec::new();
        let mut search = async |user: &str, waiting: &mut Vec<Entry>| {
            waiting.push(of(&pool, user, "m", &["f"], NOW));
            let entry = waiting[waiting.len() - 1].clone();
            let found = index.enqueue(POOL, entry, NOW).await.unwrap();
            for entry in found.into_iter().flat_map(|proposal| proposal.entries) {
                waiting.retain(|it| it.user_id != entry.user_id);
                met.push(entry.user_id.to_string());
            }
        };
        search("bob", &mut waiting).await;
        index.silent(POOL, NOW, 10).await.unwrap();
        // As the sweep does.
        let at = |it: &Entry| it.position.clone();
        let end = Position { created_at: NOW, ticket_id: "~".into() };
        let span = Span { from: None, to: end, truth: waiting.iter().map(at).collect() };
        let missing = index.reconcile(POOL, span).await.unwrap();
        let found = waiting.iter().filter(|it| missing.contains(&it.position)).cloned();
        index.put(POOL, found.collect()).await.unwrap();
        index.alive(&["eve".to_owned()], NOW).await.unwrap();
        search("carl", &mut waiting).await;
        search("dan", &mut waiting).await;
        met.sort_unstable();
        assert_eq!(met.len(), 4, "{gone}: {met:?}");
        assert!(["ann", "eve"].iter().all(|it| met.iter().any(|met| met == it)), "{gone}: {met:?}");
        let waits = waiting.len() as u64;
        assert_eq!((index.len(POOL).await.unwrap(), waits), (1, 1), "{gone}");
    }
}
