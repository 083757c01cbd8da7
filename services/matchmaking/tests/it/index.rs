//! Conformance of `Index`: what every proposer does. A backend is one line.

use std::sync::Arc;

use mingle_matchmaking::{
    domain::{Bucket, Entry, Pool, pool::Pools},
    store::{Index, Span, memory::Memory},
};

use crate::{
    queue::{content, entry, pool},
    redis::{open_cluster, open_redis, open_upstash},
};

const POOL: &str = "test";

macro_rules! suite {
    ($backend:ident, $open:expr) => {
        suite!($backend, $open;
            proposes_the_oldest_compatible_and_takes_both_out,
            adding_again_keeps_the_age,
            what_is_removed_is_not_proposed,
            the_silent_are_named_until_they_are_alive,
            it_is_made_to_agree_with_the_rows,
            an_unknown_pool_is_empty,
        );
    };
    ($backend:ident, $open:expr; $($body:ident,)*) => {
        mod $backend {
            use super::*;
            $(#[tokio::test]
            async fn $body() {
                let pool = pool(true);
                let index = $open([(POOL.to_owned(), pool.clone())].into()).await;
                super::$body(&*index, &pool).await;
            })*
        }
    };
}

suite!(memory, open_memory);
suite!(redis, open_redis);
suite!(cluster, open_cluster);
suite!(upstash, open_upstash);

async fn open_memory(pools: Pools) -> Arc<dyn Index> {
    Arc::new(Memory::new(&pools))
}

fn bucket(pool: &Pool, gender: &str, wants: &[&str]) -> Bucket {
    pool.bucket(&content(gender, wants)).unwrap()
}

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| &*entry.position.ticket_id).collect()
}

async fn proposes_the_oldest_compatible_and_takes_both_out(index: &dyn Index, pool: &Pool) {
    let wants_m = bucket(pool, "f", &["m"]);
    for (id, at) in [("b", 2), ("a", 1), ("c", 3)] {
        assert_eq!(index.enqueue(POOL, entry(id, id, wants_m, at), 5).await.unwrap(), None);
    }
    let any = bucket(pool, "m", &[]);
    for (id, partner) in [("d", "a"), ("e", "b")] {
        let proposal = index.enqueue(POOL, entry(id, id, any, 4), 5).await.unwrap().unwrap();
        assert_eq!(ids(&proposal.entries), [partner, id]);
    }
    assert_eq!(index.len(POOL).await.unwrap(), 1);
    let wants_o = bucket(pool, "m", &["o"]);
    assert_eq!(index.enqueue(POOL, entry("f", "f", wants_o, 5), 5).await.unwrap(), None);
    assert_eq!(index.leftovers(POOL, 5, 10).await.unwrap(), []);
}

async fn adding_again_keeps_the_age(index: &dyn Index, pool: &Pool) {
    let any = bucket(pool, "f", &["m"]);
    let first = entry("a", "ann", any, 1);
    index.put(POOL, vec![first.clone(), first.clone()]).await.unwrap();
    index.put(POOL, vec![entry("b", "eve", any, 2), first]).await.unwrap();
    assert_eq!(index.len(POOL).await.unwrap(), 2);
    let bob = entry("c", "bob", bucket(pool, "m", &[]), 3);
    let proposal = index.enqueue(POOL, bob, 3).await.unwrap().unwrap();
    assert_eq!(ids(&proposal.entries), ["a", "c"]);
}

async fn what_is_removed_is_not_proposed(index: &dyn Index, pool: &Pool) {
    let any = bucket(pool, "f", &[]);
    index.put(POOL, vec![entry("a", "ann", any, 1)]).await.unwrap();
    for _ in 0..2 {
        index.remove(POOL, "a").await.unwrap();
    }
    assert_eq!(index.enqueue(POOL, entry("b", "bob", any, 2), 2).await.unwrap(), None);
}

async fn the_silent_are_named_until_they_are_alive(index: &dyn Index, pool: &Pool) {
    let any = bucket(pool, "f", &[]);
    let mut spared = entry("b", "bob", any, 0);
    spared.spared_until = 40_000;
    index.put(POOL, vec![entry("a", "ann", any, 0), spared]).await.unwrap();
    assert_eq!(index.leftovers(POOL, 10_000, 10).await.unwrap(), []);
    let silent = async |now| index.silent(POOL, now, 10).await.unwrap();
    let named = |names: &[(&str, &str)]| {
        names.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(silent(10_000).await, named(&[("a", "ann")]));
    assert_eq!(silent(40_000).await, named(&[("a", "ann"), ("b", "bob")]));
    assert_eq!(index.len(POOL).await.unwrap(), 2);
    index.alive(&["a".into(), "b".into(), "unknown".into()], 40_000).await.unwrap();
    assert_eq!(silent(40_000).await, []);
    let proposals = index.leftovers(POOL, 40_000, 10).await.unwrap();
    assert_eq!(ids(&proposals[0].entries), ["a", "b"]);
}

async fn it_is_made_to_agree_with_the_rows(index: &dyn Index, pool: &Pool) {
    let lonely = bucket(pool, "f", &["m"]);
    let at = |n: i64| entry(&format!("t{n}"), &format!("u{n}"), lonely, n);
    index.put(POOL, (1..=5).map(at).collect()).await.unwrap();
    // Between 1 (excluded) and 4 there are, by the rows, 3 and 30.
    let mut found_again = at(3).position;
    found_again.ticket_id = "t30".into();
    let truth = vec![at(3).position, found_again.clone()];
    let span = Span { from: Some(at(1).position), to: at(4).position, truth };
    assert_eq!(index.reconcile(POOL, span).await.unwrap(), [found_again]);
    assert_eq!(index.len(POOL).await.unwrap(), 3, "1, 3 and 5 are left");
    let bob = entry("bob", "bob", bucket(pool, "m", &[]), 9);
    let proposal = index.enqueue(POOL, bob, 9).await.unwrap().unwrap();
    assert_eq!(ids(&proposal.entries), ["t1", "bob"]);
}

async fn an_unknown_pool_is_empty(index: &dyn Index, pool: &Pool) {
    let any = bucket(pool, "f", &[]);
    for id in ["a", "b"] {
        assert_eq!(index.enqueue("nowhere", entry(id, id, any, 1), 1).await.unwrap(), None);
    }
    assert_eq!(index.len("nowhere").await.unwrap(), 0);
}
