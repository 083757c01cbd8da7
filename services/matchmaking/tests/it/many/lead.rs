//! One sweeps at a time, and somebody always does.

use std::{sync::Arc, time::Duration};

use mingle_matchmaking::store::{Index, Lead, redis::RedisIndex};
use mingle_store::clock::ManualClock;
use mingle_testkit::Redis as Server;

use super::{Site, pools};
use crate::redis::connect;

const TTL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn one_leads_and_is_followed_when_its_lease_is_over() {
    let server = Server::start().await;
    let clock = Arc::new(ManualClock::at(1_000_000));
    let mut indexes = Vec::new();
    for _ in 0..2 {
        let redis = connect(&server).await.with_clock(clock.clone());
        indexes.push(RedisIndex::new(redis, &pools(), clock.clone()));
    }
    let lead = async |index: usize, holder| indexes[index].lead(holder, TTL).await.unwrap();
    assert_eq!(lead(0, "one").await, Lead::Begun);
    assert_eq!(lead(1, "other").await, Lead::Another);
    clock.advance(2_999);
    assert_eq!(lead(0, "one").await, Lead::Held);
    clock.advance(2_999);
    assert_eq!(lead(1, "other").await, Lead::Another, "it was renewed");
    clock.advance(1);
    assert_eq!(lead(1, "other").await, Lead::Begun);
    assert_eq!(lead(0, "one").await, Lead::Another);
    clock.advance(-1_000_000);
    assert_eq!(lead(0, "one").await, Lead::Begun, "the clock was set back");
    assert_eq!(lead(1, "other").await, Lead::Another);

    // Nothing of before counts, and the index is built anew.
    server.restart_empty().await;
    mingle_testkit::eventually(crate::world::PATIENCE, "the new generation", async || {
        matches!(indexes[1].lead("other", TTL).await, Ok(Lead::Begun))
    })
    .await;
}

#[tokio::test]
async fn a_killed_leader_is_followed() {
    let site = Site::new().await;
    let dies = site.instance().await;
    // Who is alone leads.
    let ann = dies.join("ann", "female", &[]).await;
    let leader = async || {
        let keys = site.redis.cli(&["KEYS", "*:lead:*"]);
        site.redis.cli(&["HGET", &keys, "holder"])
    };
    mingle_testkit::eventually(crate::world::PATIENCE, "a leader", async || {
        !leader().await.is_empty()
    })
    .await;
    let first = leader().await;
    let lives = site.instance().await;
    dies.kill();
    // Only a sweep finds who is not in the index.
    let index = site.index().await;
    index.remove(crate::world::POOL, &ann.ticket_id).await.unwrap();
    let bob = lives.join("bob", "male", &[]).await;
    assert_eq!(lives.matched(&bob).await.user_ids, ["ann", "bob"]);
    assert_ne!(leader().await, first);
}
