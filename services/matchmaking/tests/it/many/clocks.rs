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

/// The leader, which sweeps, and another process.
async fn apart(site: &Site, leader_ms: i64) -> (Instance, Instance) {
    let leader = site.instance_by(OVERRIDES, Arc::new(Off(leader_ms))).await;
    eventually(PATIENCE, "a leader", async || !site.redis.cli(&["KEYS", "*:lead:*"]).is_empty())
        .await;
    (leader, site.instance().await)
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
    let (leader, other) = apart(&site, 40_000).await;
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
    // Time to spare for a busy machine, and less than the clocks differ by.
    site.sql("update mm_tickets set lease_until = lease_until + 20000 where user_id = 'ann'").await;
    // Whose lease is over goes when leases are looked at next, and she alone.
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
    let (ahead, other) = apart(&site, 40_000).await;
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
