//! Processes whose clocks differ by more than a lease.

use std::sync::Arc;

use mingle_proto::matchmaking::v1::{Liveness, PoolStatsRequest, TicketState};
use mingle_store::clock::{Clock, SystemClock};
use mingle_testkit::eventually;

use super::{Instance, OVERRIDES, Site};
use crate::world::{PATIENCE, POOL, get, request};

/// A machine whose clock is set wrongly.
struct Off(i64);

impl Clock for Off {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.0
    }
}

/// Longer than a busy machine takes for a test, and shorter than the clocks differ.
const LEASE: &str = "lease_ms = 300000";
const AHEAD_MS: i64 = 400_000;

/// The leader, which sweeps and whose clock is ahead, and another process.
async fn apart(site: &Site) -> (Instance, Instance) {
    let overrides = format!("{OVERRIDES}\n{LEASE}");
    let leader = site.instance_by(&overrides, Arc::new(Off(AHEAD_MS))).await;
    eventually(PATIENCE, "a leader", async || !site.redis.cli(&["KEYS", "*:lead:*"]).is_empty())
        .await;
    (leader, site.instance_with(&overrides).await)
}

async fn meet(instance: &Instance, one: &str, other: &str) {
    let ticket = instance.join(one, "female", &["male"]).await;
    instance.join(other, "male", &["female"]).await;
    let mut users = [one, other];
    users.sort_unstable();
    assert_eq!(instance.matched(&ticket).await.user_ids, users);
}

#[tokio::test]
async fn a_lease_lasts_as_long_whoever_judges_it() {
    let site = Site::new().await;
    let (leader, other) = apart(&site).await;
    let polls = async |user: &str| {
        let mut wish = request(user, "female", &["male"]);
        wish.liveness = Liveness::Lease.into();
        let reply = other.client.clone().create_ticket(wish).await.unwrap();
        reply.into_inner().ticket.unwrap()
    };
    let (ann, eve) = (polls("ann").await, polls("eve").await);
    let state = async |user: &str, ticket_id: &str| {
        get(&leader.client, user, ticket_id, 0).await.unwrap().state()
    };
    // Whose lease is over goes with the next sweep, and she alone.
    let over = "update mm_tickets set lease_until = 1 where user_id = 'eve'";
    site.sql(over).await;
    eventually(PATIENCE, "eve to expire", async || {
        site.count("select count(*) from mm_tickets where state = 'expired'").await > 0
    })
    .await;
    assert_eq!(site.count("select count(*) from mm_tickets where state = 'expired'").await, 1);
    assert_eq!(state("eve", &eve.ticket_id).await, TicketState::Expired);
    assert_eq!(state("ann", &ann.ticket_id).await, TicketState::Waiting);
    let bob = leader.join("bob", "male", &["female"]).await;
    assert_eq!(leader.matched(&bob).await.user_ids, ["ann", "bob"]);
}

#[tokio::test]
async fn each_process_counts_the_matches_of_the_others() {
    let site = Site::new().await;
    let (ahead, other) = apart(&site).await;
    meet(&ahead, "ann", "bob").await;
    meet(&other, "eve", "carl").await;
    for instance in [&ahead, &other] {
        eventually(PATIENCE, "both matches", async || {
            let request = PoolStatsRequest { pool: POOL.to_owned() };
            let stats = instance.client.clone().pool_stats(request).await.unwrap().into_inner();
            assert!(stats.matches_last_minute <= 2);
            stats.matches_last_minute == 2
        })
        .await;
    }
}
